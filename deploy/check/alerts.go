package main

import (
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// ruleFile is a file of alert rules as Prometheus reads it.
type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// checkAlerts checks a file of rules and says how many there are. That the
// metrics exist is checked where they are made (internal/observe).
func checkAlerts(name, text string) (findings []string, rules int) {
	var file ruleFile
	if err := yaml.UnmarshalStrict([]byte(text), &file); err != nil {
		return []string{fmt.Sprintf("%s: %v", name, err)}, 0
	}
	seen := make(map[string]bool)
	for _, group := range file.Groups {
		for _, r := range group.Rules {
			rules++
			find := func(format string, args ...any) {
				findings = append(findings, fmt.Sprintf("%s: alert %s: %s", name, r.Alert, fmt.Sprintf(format, args...)))
			}
			if r.Alert == "" || seen[r.Alert] {
				find("no name, or one that is taken")
			}
			seen[r.Alert] = true
			if _, err := parser.NewParser(parser.Options{}).ParseExpr(r.Expr); err != nil {
				find("expression: %v", err)
			}
			if _, err := time.ParseDuration(r.For); r.For != "" && err != nil {
				find("for: %v", err)
			}
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				find("no severity or no summary")
			}
		}
	}
	if rules == 0 {
		findings = append(findings, name+": no rules")
	}
	return findings, rules
}
