package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: check DEPLOY-DIRECTORY")
		os.Exit(2)
	}
	findings, checked, err := checkAll(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(2)
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	fmt.Printf("%d objects checked, %d findings\n", checked, len(findings))
	if len(findings) > 0 {
		os.Exit(1)
	}
}

// checkAll checks everything below dir, which is deploy/.
func checkAll(dir string) (findings []string, checked int, err error) {
	manifests, err := filepath.Glob(filepath.Join(dir, "kubernetes", "*.yaml"))
	if err != nil || len(manifests) == 0 {
		return nil, 0, fmt.Errorf("find manifests in %s: %d, %w", dir, len(manifests), err)
	}
	bundle := newBundle("kubernetes")
	for _, path := range manifests {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, 0, fmt.Errorf("read manifest: %w", err)
		}
		bundle.add(filepath.Base(path), string(text))
	}
	findings, checked = bundle.check(), len(bundle.objects)
	alerts, err := os.ReadFile(filepath.Join(dir, "prometheus", "alerts.yaml"))
	if err != nil {
		return nil, 0, fmt.Errorf("read alerts: %w", err)
	}
	found, rules := checkAlerts("alerts.yaml", string(alerts))
	findings, checked = append(findings, found...), checked+rules
	for _, variant := range variants() {
		rendered, err := render(filepath.Join(dir, "helm", "streamctl"), variant.values)
		if err != nil {
			findings = append(findings, fmt.Sprintf("helm (%s): %v", variant.name, err))
			continue
		}
		bundle := newBundle("helm (" + variant.name + ")")
		for name, text := range rendered {
			bundle.add(name, text)
		}
		findings = append(findings, bundle.check()...)
		checked += len(bundle.objects)
	}
	return findings, checked, nil
}
