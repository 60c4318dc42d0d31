package observe

import (
	"context"
	"strconv"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// kind is a metric's type in Prometheus.
type kind uint8

const (
	counter kind = iota
	gauge
	histogram
)

func (k kind) String() string { return [...]string{"counter", "gauge", "histogram"}[k] }

// metric is a row of the table: what it is called, what it means, and how it is
// read from a pipeline. The label pipeline goes before labels.
type metric struct {
	name   string
	kind   kind
	labels []string
	help   string
	// read calls emit with each value and its labels. A histogram has readHistogram.
	read          func(v *view, emit func(value float64, labels ...string))
	readHistogram func(v *view) *engine.Histogram
}

// view is what the metrics of one pipeline are read from.
type view struct {
	engine.Snapshot
	pipeline string
	ready    bool
}

// number makes a metric without labels.
func number(of func(v *view) float64) func(*view, func(float64, ...string)) {
	return func(v *view, emit func(float64, ...string)) { emit(of(v)) }
}

// perTopic makes a metric of every topic that has something of it.
func perTopic(of func(engine.TopicStats) int64) func(*view, func(float64, ...string)) {
	return func(v *view, emit func(float64, ...string)) {
		for topic, s := range v.Stats.Topics {
			if n := of(s); n > 0 {
				emit(float64(n), topic)
			}
		}
	}
}

// partition gives the labels of a partition.
func partition(tp record.TopicPartition) []string {
	return []string{tp.Topic, strconv.Itoa(int(tp.Partition))}
}

// oneIf is 1 for true.
func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// deadLetters is what the name of a pipeline's topic of dead letters ends with.
const deadLetters = ".dead-letters"

// incidents are the values of the label incident: all of them are shown, those
// that have not happened as 0.
var incidents = []string{
	engine.IncidentRebalance, engine.IncidentMembershipLost, engine.IncidentFenced, engine.IncidentLostMemberFenced,
	engine.IncidentProducerRenewed, engine.IncidentUnknownOutcome, engine.IncidentConcurrentTransaction,
	engine.IncidentTransactionTimeout, engine.IncidentOutOfOrderSequence, engine.IncidentUnknownProducer,
	engine.IncidentUnstableOffsets, engine.IncidentLeaderMoved, engine.IncidentCoordinatorMoved, engine.IncidentConnectionLost,
	engine.IncidentRequestTimeout, engine.IncidentNotEnoughReplicas, engine.IncidentStorageError, engine.IncidentThrottled,
	engine.IncidentStateCorrupt, engine.IncidentStateFull, engine.IncidentStateStale, engine.IncidentSourceTruncated,
}

// table is every metric of a pipeline, in the order of docs/metrics.md.
func table() []metric {
	var all []metric
	for _, group := range [][]metric{healthMetrics(), flowMetrics(), lagMetrics(), commitMetrics(), taskMetrics(), stateMetrics(), workerMetrics()} {
		all = append(all, group...)
	}
	return all
}

func healthMetrics() []metric {
	return []metric{
		{"streamctl_ready", gauge, nil, "1 when /readyz would answer 200 for the pipeline, else 0.", number(func(v *view) float64 { return oneIf(v.ready) }), nil},
		{"streamctl_group_joined", gauge, nil, "1 while the process is a member of the pipeline's group, else 0.", number(func(v *view) float64 { return oneIf(v.Joined) }), nil},
		{"streamctl_group_generation", gauge, nil, "Generation of the group that the process joined last.", number(func(v *view) float64 { return float64(v.Generation) }), nil},
		{"streamctl_suspended", gauge, nil, "1 while the process has left the group because its local state failed, or its topics have changed, and waits to begin anew.",
			number(func(v *view) float64 { return oneIf(v.Phase == engine.PhaseSuspended) }), nil},
		{"streamctl_incidents_total", counter, []string{"incident"}, "What the process recovered from by itself, by kind: see the failure table in operations.md.",
			func(v *view, emit func(float64, ...string)) {
				for _, name := range incidents {
					emit(float64(v.Stats.Incidents[name]), name)
				}
				for name, n := range v.Stats.Incidents {
					emit(float64(n), name)
				}
			}, nil},
	}
}

func flowMetrics() []metric {
	return []metric{
		{"streamctl_records_processed_total", counter, nil, "Records that operators have processed, in all tasks of the process.", number(func(v *view) float64 { return float64(v.Stats.Processed) }), nil},
		{"streamctl_records_emitted_total", counter, nil, "Records that operators have sent: to sinks, repartition topics and dead letters.", number(func(v *view) float64 { return float64(v.Stats.Emitted) }), nil},
		{"streamctl_records_read_total", counter, []string{"topic"}, "Records fetched from a topic; those of restores are in it, those of standbys are not.", perTopic(func(s engine.TopicStats) int64 { return s.Read }), nil},
		{"streamctl_read_bytes_total", counter, []string{"topic"}, "Bytes of these records in memory, unpacked.", perTopic(func(s engine.TopicStats) int64 { return s.ReadBytes }), nil},
		{"streamctl_records_sent_total", counter, []string{"topic"}, "Records sent to a topic, changelogs included. Those of aborted transactions count, too.", perTopic(func(s engine.TopicStats) int64 { return s.Sent }), nil},
		{"streamctl_sent_bytes_total", counter, []string{"topic"}, "Bytes of the keys and values of these records.", perTopic(func(s engine.TopicStats) int64 { return s.SentBytes }), nil},
		{"streamctl_records_dropped_total", counter, []string{"operator", "reason"}, "Records that were not processed to their end, by the name in the pipeline file and the reason.",
			func(v *view, emit func(float64, ...string)) {
				for key, n := range v.Stats.Counters.Drops {
					emit(float64(n), key.Operator, key.Reason)
				}
			}, nil},
		{"streamctl_dead_letters_total", counter, nil, "Records sent to the dead letters.", number(func(v *view) float64 { return float64(v.Stats.Topics[v.pipeline+deadLetters].Sent) }), nil},
	}
}

func lagMetrics() []metric {
	return []metric{
		{"streamctl_lag_records", gauge, []string{"topic", "partition"}, "Offsets between the next record to process and the end of committed data as the last fetch told it.",
			func(v *view, emit func(float64, ...string)) {
				for _, in := range v.inputs() {
					if in.EndKnown {
						emit(float64(in.Lag()), partition(in.TP)...)
					}
				}
			}, nil},
		{"streamctl_lag_seconds", gauge, []string{"topic", "partition"}, "Seconds between the event time of the record processed last and now; 0 when nothing is left to process.",
			func(v *view, emit func(float64, ...string)) {
				for _, in := range v.inputs() {
					if !in.EndKnown || in.Lag() > 0 && !in.Taken {
						continue
					}
					lag := 0.0
					if in.Lag() > 0 {
						lag = max(v.At.Sub(time.UnixMilli(in.EventTime)).Seconds(), 0)
					}
					emit(lag, partition(in.TP)...)
				}
			}, nil},
		{"streamctl_time_held_seconds", gauge, []string{"topic", "partition", "by"}, "Event time by which the slowest task that writes a repartition topic (by) is behind the fastest: windows behind it wait for that. -1 when the task has not told its time yet.",
			func(v *view, emit func(float64, ...string)) {
				for _, in := range v.inputs() {
					if in.HeldBy.Sub != "" {
						held := float64(in.Held) / 1000
						if in.Held < 0 {
							held = -1
						}
						emit(held, append(partition(in.TP), in.HeldBy.String())...)
					}
				}
			}, nil},
		{"streamctl_latency_seconds", histogram, nil, "Seconds from a record's timestamp in Kafka to the commit of what it led to. Sampled: the oldest batch of every input in every commit.",
			nil, func(v *view) *engine.Histogram { return &v.Stats.Latency }},
	}
}

func commitMetrics() []metric {
	return []metric{
		{"streamctl_commits_total", counter, nil, "Commits that succeeded, of all workers.", number(func(v *view) float64 { return float64(v.Stats.Commits) }), nil},
		{"streamctl_commits_aborted_total", counter, nil, "Commits that failed or whose outcome was unknown: the worker went back to what was committed.", number(func(v *view) float64 { return float64(v.Stats.Aborts) }), nil},
		{"streamctl_commit_duration_seconds", histogram, nil, "Seconds from the beginning of a commit until its state was stored. Workers go on processing meanwhile.",
			nil, func(v *view) *engine.Histogram { return &v.Stats.CommitTime }},
	}
}

func taskMetrics() []metric {
	return []metric{
		{"streamctl_tasks_assigned", gauge, nil, "Tasks that the group has given to the process, standbys not counted.", number(func(v *view) float64 { return float64(v.Owned) }), nil},
		{"streamctl_tasks", gauge, []string{"state"}, "Tasks of the process by state: running, restoring, suspended (taken away, their last commit not ended), standby.",
			func(v *view, emit func(float64, ...string)) {
				var restoring, suspended int
				for _, w := range v.Workers {
					restoring += w.Stats.Restoring
					suspended += w.Stats.Present.Suspended
				}
				emit(float64(v.Stats.Running), "running")
				emit(float64(restoring), "restoring")
				emit(float64(suspended), "suspended")
				emit(float64(v.Stats.Standbys), "standby")
			}, nil},
		{"streamctl_restores_in_progress", gauge, nil, "Tables that are being rebuilt.", number(func(v *view) float64 { return float64(len(v.restores())) }), nil},
		{"streamctl_restore_remaining_records", gauge, []string{"topic", "partition"}, "Offsets that are left to read before the table of this partition is rebuilt.",
			func(v *view, emit func(float64, ...string)) {
				for _, r := range v.restores() {
					if left, known := r.Remaining(); known {
						emit(float64(left), partition(r.TP)...)
					}
				}
			}, nil},
		{"streamctl_restore_progress_ratio", gauge, []string{"topic", "partition"}, "Which part of it has been read, from 0 to 1.",
			func(v *view, emit func(float64, ...string)) {
				for _, r := range v.restores() {
					emit(r.Done(), partition(r.TP)...)
				}
			}, nil},
		{"streamctl_records_restored_total", counter, nil, "Records read to rebuild tables.", number(func(v *view) float64 { return float64(v.Stats.Restored) }), nil},
		{"streamctl_restores_full_total", counter, nil, "Tables rebuilt from the beginning because nothing of them was there.", number(func(v *view) float64 { return float64(v.Stats.FullRestores) }), nil},
		{"streamctl_records_followed_total", counter, nil, "Records read to keep standbys up to date.", number(func(v *view) float64 { return float64(v.Stats.Followed) }), nil},
		{"streamctl_standby_lag_records", gauge, []string{"topic", "partition"}, "Offsets by which a standby's copy is behind the end of committed data.",
			func(v *view, emit func(float64, ...string)) {
				for _, w := range v.Workers {
					for _, f := range w.Stats.Follows {
						if f.EndKnown {
							emit(float64(f.Lag()), partition(f.TP)...)
						}
					}
				}
			}, nil},
	}
}

func stateMetrics() []metric {
	return []metric{
		{"streamctl_state_bytes", gauge, nil, "Bytes of the local state on disk.", number(func(v *view) float64 { return float64(v.StateBytes) }), nil},
		{"streamctl_state_cache_bytes", gauge, nil, "Bytes of rows in memory.", number(func(v *view) float64 { return float64(v.CacheBytes) }), nil},
		{"streamctl_state_cache_limit_bytes", gauge, nil, "Bytes of rows that are kept in memory at most.", number(func(v *view) float64 { return float64(v.CacheLimit) }), nil},
		{"streamctl_state_cache_hits_total", counter, nil, "Lookups of rows that memory answered.", number(func(v *view) float64 { return float64(v.Stats.CacheHits) }), nil},
		{"streamctl_state_cache_misses_total", counter, nil, "Lookups of rows that the disk had to answer.", number(func(v *view) float64 { return float64(v.Stats.CacheMisses) }), nil},
	}
}

func workerMetrics() []metric {
	perWorker := func(of func(v *view, w engine.WorkerView) float64) func(*view, func(float64, ...string)) {
		return func(v *view, emit func(float64, ...string)) {
			for _, w := range v.Workers {
				if w.Alive && !w.Published.IsZero() {
					emit(of(v, w), strconv.Itoa(w.Index))
				}
			}
		}
	}
	return []metric{
		{"streamctl_worker_busy_seconds_total", counter, []string{"worker"}, "Seconds for which a worker had something to do: rate() of it is its load, from 0 to 1.",
			perWorker(func(_ *view, w engine.WorkerView) float64 {
				return max(w.Published.Sub(w.Started)-w.Stats.Idle, 0).Seconds()
			}), nil},
		{"streamctl_worker_turn_age_seconds", gauge, []string{"worker"}, "Seconds since a worker's loop last began a turn: normally below 1; see /livez.",
			perWorker(func(v *view, w engine.WorkerView) float64 { return max(v.At.Sub(w.Turned), 0).Seconds() }), nil},
	}
}

// inputs are those of all workers.
func (v *view) inputs() []engine.InputStats {
	var all []engine.InputStats
	for _, w := range v.Workers {
		all = append(all, w.Stats.Inputs...)
	}
	return all
}

// restores are those of all workers.
func (v *view) restores() []engine.RestoreStats {
	var all []engine.RestoreStats
	for _, w := range v.Workers {
		all = append(all, w.Stats.Restores...)
	}
	return all
}

// look reads a target once, for all of its metrics.
func look(ctx context.Context, t *Target) *view {
	v := &view{Snapshot: t.monitor.Snapshot(), pipeline: t.name}
	ping, stopping := t.state()
	v.ready = allOK(t.ready(ctx, v.Snapshot, ping, stopping))
	return v
}
