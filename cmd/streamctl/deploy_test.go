package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"streamctl/pipeline"
)

// Every flag that the unit, the manifests and the chart give to `streamctl run`
// is one of it.
func TestDeployedFlagsExist(t *testing.T) {
	known := make(map[string]bool)
	root := newApp(nil, nil, nil, os.Getenv).rootCommand()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "run" {
			for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(cmd.UsageString()+root.UsageString(), -1) {
				known[flag] = true
			}
		}
	}
	found := 0
	for _, file := range []string{"systemd/streamctl@.service", "kubernetes/statefulset.yaml", "helm/streamctl/templates/statefulset.yaml"} {
		text, err := os.ReadFile(filepath.Join("../../deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if !strings.HasPrefix(line, "- --") && !strings.HasPrefix(line, "ExecStart=") {
				continue
			}
			for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(line, -1) {
				found++
				if !known[flag] {
					t.Errorf("%s gives %s to run, which does not have it", file, flag)
				}
			}
		}
	}
	if found < 12 {
		t.Errorf("only %d flags were found", found)
	}
}

// The pipelines that the manifests and the chart bring along are pipelines.
func TestDeployedPipelinesCompile(t *testing.T) {
	t.Setenv("KAFKA_BROKERS", "kafka:9092")
	for file, key := range map[string]string{"kubernetes/configmap.yaml": "  pipeline.yaml: |\n", "helm/streamctl/values.yaml": "pipeline: |\n"} {
		text, err := os.ReadFile(filepath.Join("../../deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		_, block, ok := strings.Cut(string(text), "\n"+key)
		if !ok {
			t.Fatalf("%s has no %q", file, key)
		}
		indent := regexp.MustCompile(`^ +`).FindString(block)
		var src strings.Builder
		for line := range strings.Lines(block) {
			if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, indent) {
				break
			}
			src.WriteString(strings.TrimPrefix(line, indent))
		}
		if _, list := pipeline.Compile(file, []byte(src.String()), pipeline.ParseOptions{}); list.HasErrors() {
			t.Errorf("%s: %v\n%s", file, list, &src)
		}
	}
}
