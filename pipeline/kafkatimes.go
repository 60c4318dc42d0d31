package pipeline

import (
	"time"

	"streamctl/internal/diag"
	"streamctl/internal/syntax"
)

// KafkaTimeouts are the time-outs of the deployment section as they are written.
type KafkaTimeouts struct {
	Session     Text // silence after which a member has lost its tasks
	Rebalance   Text // how long the group waits for members to rejoin
	Transaction Text // age at which the broker aborts a transaction
	Request     Text // how long an answer may take
	Retry       Text // how long something is tried again before the run ends
}

// TimeoutSettings are time-outs with every ${...} replaced; 0 = not set.
type TimeoutSettings struct {
	Session, Rebalance, Transaction, Request, Retry time.Duration
}

// timeout is one of them, with the bounds within which it makes sense. Kafka
// counts them in milliseconds of 31 bits.
type timeout struct {
	name        string
	text        *Text
	value       *time.Duration
	least, most time.Duration
}

func (k *KafkaTimeouts) list(s *TimeoutSettings) []timeout {
	const day = 24 * time.Hour
	return []timeout{
		{"session_timeout", &k.Session, &s.Session, 500 * time.Millisecond, time.Hour},
		{"rebalance_timeout", &k.Rebalance, &s.Rebalance, time.Second, time.Hour},
		{"transaction_timeout", &k.Transaction, &s.Transaction, time.Second, day},
		{"request_timeout", &k.Request, &s.Request, 100 * time.Millisecond, time.Hour},
		{"retry_timeout", &k.Retry, &s.Retry, time.Second, day},
	}
}

// timeoutKeys are the fields of the section; values without ${...} are checked at once.
func (p *parser) timeoutKeys(k *KafkaTimeouts) []key {
	var keys []key
	for _, t := range k.list(new(TimeoutSettings)) {
		keys = append(keys, key{name: t.name, read: func(n *syntax.Node) {
			p.setting(t.text)(n)
			if t.text.Set && !t.text.hasInterpolation() {
				checkDuration(&p.list, *t.text, t.text.Value, t.least, t.most)
			}
		}})
	}
	return keys
}

// resolve gives the values.
func (k *KafkaTimeouts) resolve(r *kafkaResolver) TimeoutSettings {
	var s TimeoutSettings
	for _, t := range k.list(&s) {
		if t.text.Set {
			*t.value, _ = checkDuration(&r.list, *t.text, r.text(*t.text), t.least, t.most)
		}
	}
	return s
}

// CheckInterval refuses a transaction time-out that a transaction of usual
// length would reach: it is open for a commit interval at least. What was
// written with ${...} is known only after Resolve.
func (k *Kafka) CheckInterval(s KafkaSettings, of PipelineSettings) diag.List {
	var list diag.List
	timeout := s.Timeouts.Transaction
	if of.ExactlyOnce && timeout > 0 && timeout <= of.CommitInterval {
		list.Errorf(codeBadValue, k.Timeouts.Transaction.Span, "kafka.transaction_timeout is not longer than commit_interval, which is %s", formatDuration(of.CommitInterval)).
			Help = "the broker would abort every transaction; leave it out, or give several times the interval"
	}
	return list
}

// checkInterval is CheckInterval for what is written without ${...}.
func (r *resolver) checkInterval() {
	k := r.file.Kafka
	if k == nil || !k.Timeouts.Transaction.Set || k.Timeouts.Transaction.hasInterpolation() {
		return
	}
	var s KafkaSettings
	s.Timeouts.Transaction, _ = ParseDuration(k.Timeouts.Transaction.Value) // a fault has been told
	r.list.Append(k.CheckInterval(s, r.out.Settings))
}

// checkDuration reads value, which t stands for, and reports what is wrong with
// it; what was looked up is not shown.
func checkDuration(list *diag.List, t Text, value string, least, most time.Duration) (time.Duration, bool) {
	shown := t.Value
	if t.hasInterpolation() {
		shown = "this duration, with ${...} replaced,"
	}
	d, err := ParseDuration(value)
	switch {
	case err != nil && t.hasInterpolation():
		list.Errorf(codeBadDuration, t.Span, "%s is none", shown).Help = durationHelp
	case err != nil:
		list.Errorf(codeBadDuration, t.Span, "%q is no duration", shown).Help = durationHelp
	case d < least:
		list.Errorf(codeBadDuration, t.Span, "%s is too short here", shown).Help = "the least is " + formatDuration(least)
	case d > most:
		list.Errorf(codeBadDuration, t.Span, "%s is too long here", shown).Help = "the most is " + formatDuration(most)
	default:
		return d, true
	}
	return 0, false
}

const durationHelp = "write a number and a unit: 500ms, 30s, 10m, 2h, 1d, or several of them: 1h30m"
