package faultproxy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// API is the kind of a request: Kafka's API key.
type API int16

// The kinds that faults are mostly about; others go by their number.
const (
	Produce            API = 0
	Fetch              API = 1
	ListOffsets        API = 2
	Metadata           API = 3
	OffsetCommit       API = 8
	OffsetFetch        API = 9
	FindCoordinator    API = 10
	JoinGroup          API = 11
	Heartbeat          API = 12
	LeaveGroup         API = 13
	SyncGroup          API = 14
	InitProducerID     API = 22
	AddPartitionsToTxn API = 24
	AddOffsetsToTxn    API = 25
	EndTxn             API = 26
	TxnOffsetCommit    API = 28
)

// String is the name that Kafka's documentation gives it.
func (a API) String() string { return kmsg.NameForKey(int16(a)) }

// Kind is what was done to a request.
type Kind uint8

const (
	// Pass lets it through untouched; as a rule it takes requests out of those below it.
	Pass Kind = iota
	// DropRequest keeps a request from the broker, DropReply the reply from the
	// client. The connection is closed, or goes silent (Rule.Silent).
	DropRequest
	DropReply
	// DelayRequest and DelayReply hold it and everything behind it on the
	// connection. A request arrives at the broker even when its client has given up
	// meanwhile and closed the connection.
	DelayRequest
	DelayReply
	// Refuse answers with an error code; the broker does not hear of it.
	Refuse
)

func (k Kind) String() string {
	return [...]string{"pass", "drop request", "drop reply", "delay request", "delay reply", "refuse"}[k]
}

// Counts says how often what was done to which requests.
type Counts map[Count]int

// Count is a kind of event.
type Count struct {
	Kind Kind
	API  API
}

// Of is how many requests of any API, or of the given ones, met a kind.
func (c Counts) Of(kind Kind, apis ...API) int {
	sum := 0
	for key, n := range c {
		if key.Kind == kind && (len(apis) == 0 || slices.Contains(apis, key.API)) {
			sum += n
		}
	}
	return sum
}

// Faults is how many requests met anything but Pass.
func (c Counts) Faults() int {
	sum := 0
	for key, n := range c {
		if key.Kind != Pass {
			sum += n
		}
	}
	return sum
}

// String lists the faults, sorted.
func (c Counts) String() string {
	var out []string
	for key, n := range c {
		if key.Kind != Pass {
			out = append(out, fmt.Sprintf("%s %s: %d", key.Kind, key.API, n))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
