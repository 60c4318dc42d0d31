// Package observe shows running pipelines to those who look on: whether the
// process is stuck (/livez), whether it does its share now (/readyz), and in
// figures how it does (/metrics). It owns the HTTP server, the checks and the
// table of metrics, from which docs/metrics.md is made. It reads what the
// engine's Monitor shows and changes nothing; the engine does not know it. What
// it prints are names and numbers, no record's content and no settings.
package observe
