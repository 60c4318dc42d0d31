package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"streamctl/internal/kafkatest"
)

// securePipeline has a kafka: section that takes its secrets from outside.
const securePipeline = `pipeline: %[1]s
kafka:
  brokers: ["${env:SECURE_BROKER}"]
  tls: {ca: %[2]s}
  sasl: {mechanism: PLAIN, username: "${env:SECURE_USER:-%[3]s}", password: "${file:%[4]s}"}
sources:
  views: {topic: %[1]s-views, fields: {page: string}}
streams:
  profiles: {from: views, where: page == "profile"}
sinks:
  out: {from: profiles, topic: %[1]s-out}
`

// TestKafkaSection runs a pipeline by the settings of its file alone, over TLS with a login.
func TestKafkaSection(t *testing.T) {
	b := kafkatest.Start(t, kafkatest.Options{Secure: true})
	dir := t.TempDir()
	secret := filepath.Join(dir, "password")
	file := filepath.Join(dir, "pipeline.yaml")
	input := filepath.Join(dir, "in.jsonl")
	for path, text := range map[string]string{
		secret: kafkatest.Password,
		file:   fmt.Sprintf(securePipeline, "secure", b.Certs().CA, kafkatest.User, secret),
		input:  `{"key":"1","value":{"page":"profile"}}` + "\n" + `{"key":"2","value":{"page":"home"}}` + "\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SECURE_BROKER", b.Listener(kafkatest.SASLTLS))
	data := filepath.Join(dir, "data")
	streamctl(t, "produce", "secure-views", "--pipeline", file, "--from", input, "--partitions", "1")
	streamctl(t, "produce", "secure-out", "--pipeline", file, "--from", os.DevNull, "--partitions", "1")
	streamctl(t, "run", file, "--until-end", "--data-dir", data)
	if out := streamctl(t, "consume", "secure-out", "--pipeline", file, "--until-end"); strings.Count(out, "\n") != 1 || !strings.Contains(out, `"key":"1"`) {
		t.Errorf("came out:\n%s", out)
	}
	streamctl(t, "reset-offsets", file, "--to", "earliest", "--yes", "--data-dir", data)

	// A wrong login fails soon, and neither the right nor the wrong secret is printed.
	const wrong = "certainly-not-it"
	if err := os.WriteFile(secret, []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"run", file, "--until-end", "--data-dir", data, "--log-level", "debug"},
		{"consume", "secure-out", "--pipeline", file, "--until-end"},
	} {
		code, stdout, stderr := exit(t.Context(), args...)
		if code != exitFailed || !strings.Contains(strings.ToLower(stderr), "authentication") {
			t.Errorf("%v with a wrong password: code %d\n%s", args, code, stderr)
		}
		if strings.Contains(stdout+stderr, wrong) || strings.Contains(stdout+stderr, kafkatest.Password) {
			t.Errorf("%v prints a secret:\n%s%s", args, stdout, stderr)
		}
	}
	// What the environment lacks is told with its place, before anything is tried.
	t.Setenv("SECURE_BROKER", "")
	if code, _, stderr := exit(t.Context(), "run", file); code != exitInvalid || !strings.Contains(stderr, "SECURE_BROKER") {
		t.Errorf("without the variable: code %d\n%s", code, stderr)
	}
}
