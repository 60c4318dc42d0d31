package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Version is the Apache Kafka release that is run.
const Version = "4.3.0"

// ErrUnavailable means that this machine cannot run Kafka: no Java, no Maven,
// or the jars could not be had.
var ErrUnavailable = errors.New("real Kafka is not available")

// What Maven is asked for.
const (
	brokerJars = "kafka_2.13"  // the broker
	toolJars   = "kafka-tools" // its command line tools
)

// home is the directory with the jars of an artifact of one Version, and their class archive.
type home struct{ dir, artifact string }

func (h home) libs() string    { return filepath.Join(h.dir, "libs") }
func (h home) archive() string { return filepath.Join(h.dir, "classes.jsa") }
func (h home) lock() string    { return h.dir + ".lock" }

// classpath has a star that the JVM expands, not a shell.
func (h home) classpath() string { return filepath.Join(h.libs(), "*") }

// Tools is the class path, for java's -cp, of the command line tools of the Kafka that is run.
func Tools(ctx context.Context) (classpath string, err error) {
	h, err := resolveJars(ctx, toolJars)
	return h.classpath(), err
}

// resolve returns the home of the broker.
func resolve(ctx context.Context) (home, error) { return resolveJars(ctx, brokerJars) }

// resolveJars returns a home after making sure that its jars are there. The
// first call on a machine downloads them (about 44 MB for a broker); callers of several
// processes wait for each other on a lock file.
func resolveJars(ctx context.Context, artifact string) (home, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return home{}, fmt.Errorf("%w: no java in PATH", ErrUnavailable)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return home{}, fmt.Errorf("%w: find cache directory: %w", ErrUnavailable, err)
	}
	name := "kafka-" + Version
	if artifact != brokerJars {
		name = artifact + "-" + Version
	}
	h := home{dir: filepath.Join(cache, "streamctl-test", name), artifact: artifact}
	if h.complete() {
		return h, nil
	}
	if err := os.MkdirAll(filepath.Dir(h.dir), 0o755); err != nil {
		return home{}, fmt.Errorf("%w: make cache directory: %w", ErrUnavailable, err)
	}
	unlock, err := lockFile(ctx, h.lock())
	if err != nil {
		return home{}, fmt.Errorf("lock Kafka jars: %w", err)
	}
	defer unlock()
	if h.complete() { // another process was faster
		return h, nil
	}
	if err := h.download(ctx); err != nil {
		return home{}, err
	}
	return h, nil
}

// complete relies on the directory being renamed into place as a whole.
func (h home) complete() bool {
	_, err := os.Stat(h.libs())
	return err == nil
}

// download lets Maven resolve the jars into a temporary directory and renames
// it, so that an interrupted download never looks like a finished one.
func (h home) download(ctx context.Context) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("%w: no mvn in PATH, and the jars are not in %s", ErrUnavailable, h.dir)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(h.dir), "download-")
	if err != nil {
		return fmt.Errorf("make download directory: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.WriteFile(filepath.Join(tmp, "pom.xml"), h.pom(), 0o644); err != nil {
		return fmt.Errorf("write pom: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, mvn, "-q", "-B", "dependency:copy-dependencies",
		"-DoutputDirectory="+filepath.Join(tmp, "libs"))
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: download jars with mvn: %w\n%s", ErrUnavailable, err, tail(out, 2000))
	}
	if err := os.Rename(tmp, h.dir); err != nil {
		return fmt.Errorf("move jars into place: %w", err)
	}
	return nil
}

// pom names what is run, and a logger: the jars bring none, and fatal errors of a broker
// would be lost.
func (h home) pom() []byte {
	var b bytes.Buffer
	b.WriteString(`<project xmlns="http://maven.apache.org/POM/4.0.0">` + "\n<modelVersion>4.0.0</modelVersion>\n")
	b.WriteString("<groupId>streamctl.test</groupId><artifactId>kafka</artifactId><version>1</version>\n<dependencies>\n")
	for _, d := range [][3]string{
		{"org.apache.kafka", h.artifact, Version},
		{"org.slf4j", "slf4j-simple", "1.7.36"},
	} {
		fmt.Fprintf(&b, "<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n", d[0], d[1], d[2])
	}
	b.WriteString("</dependencies>\n</project>\n")
	return b.Bytes()
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		b = b[len(b)-n:]
	}
	return bytes.TrimSpace(b)
}
