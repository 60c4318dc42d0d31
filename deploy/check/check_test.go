package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatIsDeployedIsRight(t *testing.T) {
	findings, checked, err := checkAll("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Error(f)
	}
	if want := 4 + 3*4 + 9; checked < want {
		t.Errorf("only %d objects were checked, want %d", checked, want)
	}
}

// Each spoiled manifest is found: the checks can fail.
func TestFaultsAreFound(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("..", "kubernetes", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, c := range []struct{ file, old, new, want string }{
		{"statefulset.yaml", "serviceName:", "servicename:", "unknown field"},
		{"statefulset.yaml", "replicas: 3", "replicas: three", "cannot unmarshal"},
		{"statefulset.yaml", "apps/v1", "apps/v1beta1", "not among the kinds"},
		{"statefulset.yaml", "path: /readyz", "path: /ready", "does not ask /readyz"},
		{"statefulset.yaml", "containerPort: 9600", "containerPort: 9600\n              name: probes", "already set"},
		{"statefulset.yaml", "- name: http\n              containerPort", "- name: probes\n              containerPort", "which it does not have"},
		{"statefulset.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "runs as root"},
		{"statefulset.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "can write to its root"},
		{"statefulset.yaml", "drop: [ALL]", "drop: [NET_RAW]", "keeps capabilities"},
		{"statefulset.yaml", "terminationGracePeriodSeconds: 90", "terminationGracePeriodSeconds: 10", "less than the rebalance timeout"},
		{"statefulset.yaml", "podManagementPolicy: Parallel", "podManagementPolicy: OrderedReady", "need not wait"},
		{"statefulset.yaml", "$(POD_NAME)", "$(POD)", "no variable POD"},
		{"statefulset.yaml", "streamctl:0.1.0", "streamctl:latest", "has no version"},
		{"statefulset.yaml", "          limits:\n              memory: 2Gi", "", "lacks a memory limit"},
		{"statefulset.yaml", "- name: data\n              mountPath", "- name: date\n              mountPath", "which is no volume"},
		{"statefulset.yaml", "- name: KAFKA_BROKERS\n", "- name: KAFKA_PASSWORD\n", "written in the manifest"},
		{"service.yaml", "clusterIP: None", "clusterIP: \"\"", "no headless service"},
		{"service.yaml", "instance: profile-views\n  ports", "instance: other\n  ports", "does not select"},
		{"pdb.yaml", "  maxUnavailable: 1\n", "", "allows what it likes"},
		{"configmap.yaml", "name: profile-views", "name: Profile_Views", "name \"Profile_Views\""},
	} {
		b := newBundle("test")
		for _, name := range []string{"configmap.yaml", "pdb.yaml", "service.yaml", "statefulset.yaml"} {
			text := read(name)
			if name == c.file {
				spoiled := strings.Replace(text, c.old, c.new, 1)
				if spoiled == text {
					t.Fatalf("%s has no %q", name, c.old)
				}
				text = spoiled
			}
			b.add(name, text)
		}
		if found := strings.Join(b.check(), "\n"); !strings.Contains(found, c.want) {
			t.Errorf("%s with %q: want %q, found:\n%s", c.file, c.new, c.want, found)
		}
	}
}

func TestFaultyAlertsAreFound(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "prometheus", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"streamctl_ready == 0", "streamctl_ready == ", "expression"},
		{"rate(streamctl_commits_total[10m])", "rate(streamctl_commits_total[10m)", "expression"},
		{"expr: streamctl_ready", "exp: streamctl_ready", "unknown field"},
		{"for: 5m", "for: 5 minutes", "for: "},
		{"labels: {severity: page}", "labels: {}", "no severity"},
		{"alert: StreamctlNotRunning", "alert: StreamctlNotReady", "taken"},
	} {
		spoiled := strings.Replace(string(text), c.old, c.new, 1)
		findings, _ := checkAlerts("alerts", spoiled)
		if spoiled == string(text) || !strings.Contains(strings.Join(findings, "\n"), c.want) {
			t.Errorf("with %q: want %q, found %v", c.new, c.want, findings)
		}
	}
}

// The schema refuses values that would do harm, or nothing.
func TestValuesAreChecked(t *testing.T) {
	for name, values := range map[string]map[string]any{
		"a misspelt value":     {"replica": 2},
		"no pipeline":          {"pipeline": "nothing: here"},
		"a port of root's":     {"http": map[string]any{"port": 80}},
		"too little grace":     {"terminationGracePeriodSeconds": 5},
		"a size of the moon":   {"persistence": map[string]any{"size": "big"}},
		"replicas as a string": {"replicas": "2"},
	} {
		if _, err := render(filepath.Join("..", "helm", "streamctl"), values); err == nil || !strings.Contains(err.Error(), "values") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
