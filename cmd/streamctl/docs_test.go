package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// bare is a YAML text without comments and empty lines.
func bare(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, " #")
		if line = strings.TrimRight(line, " \n"); line != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// The pipeline that README explains line by line is the example that it names.
func TestReadmeExplainsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	section, _, ok := strings.Cut(string(readme), "There is no `kafka:` section")
	if !ok {
		t.Fatal("README has lost the end of its explanation")
	}
	var told []string
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(section, -1) {
		told = append(told, block[1])
	}
	example, err := os.ReadFile(filepath.Join(examplesDir, "02-profile-enrichment", "pipeline.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bare(string(example)), bare(strings.Join(told, ""))); diff != "" {
		t.Errorf("README against the example (-example +README):\n%s", diff)
	}
}

// Every flag and subcommand that operations.md and README name exists.
func TestDocumentedFlagsExist(t *testing.T) {
	known := make(map[string]bool)
	root := newApp(nil, nil, nil, os.Getenv).rootCommand()
	for _, cmd := range root.Commands() {
		known[cmd.Name()] = true
		help := cmd.UsageString() + root.UsageString()
		for _, sub := range cmd.Commands() {
			help += sub.UsageString()
		}
		for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(help, -1) {
			known[flag] = true
		}
	}
	for _, page := range []string{"README.md", "docs/operations.md", "docs/language.md", "examples/pipelines/02-profile-enrichment/README.md"} {
		text, err := os.ReadFile(filepath.Join("../..", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range regexp.MustCompile("(?s)```.*?```|`[^`\n]+`").FindAllString(string(text), -1) {
			for _, flag := range regexp.MustCompile(`--[a-z]+(?:-[a-z]+)*`).FindAllString(line, -1) {
				if !known[flag] {
					t.Errorf("%s tells of %s: no command has it", page, flag)
				}
			}
			for _, m := range regexp.MustCompile(`(?m)^`+"`?"+`streamctl ([a-z-]+)`).FindAllStringSubmatch(line, -1) {
				if !known[m[1]] {
					t.Errorf("%s tells of streamctl %s: there is no such command", page, m[1])
				}
			}
		}
	}
}

// Every file and directory of the house that the documents name is there.
func TestDocumentedFilesExist(t *testing.T) {
	const root = "../.."
	inCode := regexp.MustCompile("`((?:cmd|pipeline|operators|expr|state|internal|examples|docs)/[A-Za-z0-9_./*-]+)`")
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	pages, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"docs/*.md", "docs/adr/*.md", "examples/*.md", "examples/pipelines/*/*.md"} {
		more, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, more...)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inCode.FindAllStringSubmatch(string(text), -1) {
			if found, err := filepath.Glob(filepath.Join(root, m[1])); err != nil || len(found) == 0 {
				t.Errorf("%s names %s: there is no such file", page, m[1])
			}
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s: there is no such file", page, m[1])
			}
		}
	}
}
