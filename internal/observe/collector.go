package observe

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// collector reads the table of metrics when it is asked for, from copies that
// the workers have published: nothing is counted for it in between.
type collector struct {
	targets []*Target
	metrics []metric
	descs   []*prometheus.Desc // of metrics
}

// registry holds everything that /metrics shows.
func registry(o Options) *prometheus.Registry {
	c := &collector{targets: o.Targets, metrics: table()}
	for _, m := range c.metrics {
		c.descs = append(c.descs, prometheus.NewDesc(m.name, m.help, append([]string{"pipeline"}, m.labels...), nil))
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: buildInfo, Help: buildHelp, ConstLabels: prometheus.Labels{"version": o.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	r := prometheus.NewRegistry()
	r.MustRegister(c, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

const (
	buildInfo = "streamctl_build_info"
	buildHelp = "1, with the version of the program and of Go as labels."
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	for _, t := range c.targets {
		v := look(context.Background(), t)
		for i, m := range c.metrics {
			c.collect(out, v, m, c.descs[i])
		}
	}
}

// collect gives the values of one metric. A partition may be seen at two
// workers while it moves from one to the other: the first counts.
func (c *collector) collect(out chan<- prometheus.Metric, v *view, m metric, desc *prometheus.Desc) {
	if m.kind == histogram {
		count, sum, atMost := m.readHistogram(v).Cumulative()
		out <- prometheus.MustNewConstHistogram(desc, count, sum, atMost, v.pipeline)
		return
	}
	kind := prometheus.GaugeValue
	if m.kind == counter {
		kind = prometheus.CounterValue
	}
	seen := make(map[string]bool)
	m.read(v, func(value float64, labels ...string) {
		for i := range labels {
			labels[i] = strings.ToValidUTF8(labels[i], "\uFFFD")
		}
		if key := strings.Join(labels, "\x00"); !seen[key] {
			seen[key] = true
			out <- prometheus.MustNewConstMetric(desc, kind, value, append([]string{v.pipeline}, labels...)...)
		}
	})
}

// Docs is docs/metrics.md.
func Docs() string {
	var b strings.Builder
	b.WriteString(docsHead)
	row := func(name string, k kind, labels []string, help string) {
		for i, l := range labels {
			labels[i] = "`" + l + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, k, strings.Join(labels, ", "), help)
	}
	row(buildInfo, gauge, []string{"version", "goversion"}, buildHelp)
	for _, m := range table() {
		row(m.name, m.kind, append([]string{"pipeline"}, slices.Clone(m.labels)...), m.help)
	}
	b.WriteString("\nHistograms have `_bucket`, `_sum` and `_count`. Beside them stand the metrics of Go (`go_`) and of the process (`process_`).\n")
	return b.String()
}

const docsHead = `# Metrics

` + "`streamctl run --http ADDR`" + ` serves these at ` + "`/metrics`" + `, in the format of Prometheus. Times are in seconds, sizes in bytes. The figures of a
worker are those of its last commit, and not older than about a second while it turns. Counters begin at 0 with the process.
Rules for alerts that use them: ` + "`deploy/prometheus/alerts.yaml`" + `. This page is made from the program: ` + "`go test ./internal/observe -run TestDocs -update`" + `.

| metric | type | labels | meaning |
|---|---|---|---|
`
