package main

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
)

// variant is a set of values that the chart has to be right with.
type variant struct {
	name   string
	values map[string]any
}

func variants() []variant {
	return []variant{
		{"defaults", nil},
		{"everything", map[string]any{
			"replicas": 5, "workers": 4, "kafkaSecret": "kafka", "goMemoryLimit": "3GiB", "priorityClassName": "high",
			"imagePullSecrets": []any{map[string]any{"name": "registry"}},
			"extraArgs":        []any{"--log-level=debug"},
			"env":              []any{map[string]any{"name": "KAFKA_BROKERS", "value": "a:9092,b:9092"}},
			"podLabels":        map[string]any{"team": "views"}, "podAnnotations": map[string]any{"note": "x"},
			"nodeSelector": map[string]any{"disk": "ssd"},
			"tolerations":  []any{map[string]any{"key": "stream", "operator": "Exists"}},
			"persistence":  map[string]any{"size": "200Gi", "storageClass": "fast", "whenDeleted": "Delete"},
		}},
		{"least", map[string]any{
			"replicas": 1, "zoneAwareness": false, "env": []any{}, "goMemoryLimit": "",
			"podDisruptionBudget": map[string]any{"enabled": false}, "http": map[string]any{"port": 8080, "scrapeAnnotations": false},
		}},
	}
}

// render gives the chart's manifests by file, as `helm template --strict` would:
// a value that is not there is an error, as is one that the schema forbids.
func render(dir string, values map[string]any) (map[string]string, error) {
	chart, err := loader.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("load chart: %w", err)
	}
	if err := chart.Validate(); err != nil {
		return nil, fmt.Errorf("validate chart: %w", err)
	}
	if chart.Schema == nil {
		return nil, errors.New("the chart has no values.schema.json")
	}
	release := chartutil.ReleaseOptions{Name: "views", Namespace: "default", IsInstall: true, Revision: 1}
	all, err := chartutil.ToRenderValues(chart, values, release, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	out, err := engine.Engine{Strict: true}.Render(chart, all)
	if err != nil {
		return nil, fmt.Errorf("render: %w", err)
	}
	manifests := make(map[string]string)
	for name, text := range out {
		switch {
		case path.Base(name) == "NOTES.txt":
			if strings.TrimSpace(text) == "" {
				return nil, errors.New("NOTES.txt is empty")
			}
		case strings.HasSuffix(name, ".yaml") && strings.TrimSpace(text) != "":
			manifests[name] = text
		}
	}
	return manifests, nil
}
