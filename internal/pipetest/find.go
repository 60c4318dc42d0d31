package pipetest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The names of files of tests: one beside one pipeline, or one per pipeline.
const (
	oneFile    = "tests.yaml"
	manySuffix = ".tests.yaml"
)

func isSuite(name string) bool { return name == oneFile || strings.HasSuffix(name, manySuffix) }

// defaultPipeline is the pipeline that a file of tests is about unless it says
// so: x.yaml of x.tests.yaml, pipeline.yaml of tests.yaml.
func defaultPipeline(suite string) string {
	dir, name := filepath.Split(suite)
	if base, ok := strings.CutSuffix(name, manySuffix); ok && base != "" {
		return filepath.Join(dir, base+".yaml")
	}
	return filepath.Join(dir, "pipeline.yaml")
}

// Find lists the files of tests under paths, sorted: a file of tests stands for
// itself, a pipeline for the tests beside it, a directory for all in it and below
// it. A path may end in /... as Go's do. Directories whose names begin with a dot
// are passed over.
func Find(paths []string) ([]string, error) {
	var out []string
	for _, path := range paths {
		path = strings.TrimSuffix(strings.TrimSuffix(path, "..."), "/")
		if path == "" {
			path = "."
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("find tests: %w", err)
		}
		var found []string
		switch {
		case info.IsDir():
			found, err = below(path)
		case isSuite(filepath.Base(path)):
			found = []string{path}
		default:
			found, err = beside(path)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func below(root string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case !entry.IsDir() && isSuite(entry.Name()):
			out = append(out, filepath.Clean(path))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find tests: %w", err)
	}
	return out, nil
}

// beside finds the tests of a pipeline: in its own file, and in tests.yaml where
// that is about it.
func beside(pipeline string) ([]string, error) {
	dir, name := filepath.Split(pipeline)
	var out []string
	for _, path := range []string{
		filepath.Join(dir, strings.TrimSuffix(name, filepath.Ext(name))+manySuffix),
		filepath.Join(dir, oneFile),
	} {
		src, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("find tests: %w", err)
		}
		if s, list := ParseSuite(path, src); list.HasErrors() || s.about(pipeline) {
			out = append(out, path)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("find tests: there is no %s beside %s that is about it", oneFile, pipeline)
	}
	return out, nil
}

// about says whether a pipeline is one of those of the suite.
func (s *Suite) about(path string) bool {
	return slices.ContainsFunc(s.Pipelines, func(p NamedPipeline) bool { return filepath.Clean(p.Path) == filepath.Clean(path) })
}
