package engine

import (
	"strconv"
	"sync/atomic"
)

// A topic takes no record above its max.message.bytes. Operators ask for it while
// they run: it may be changed at any time, and is heard of when the topics are
// looked at.

// makeLimits makes the limits of all topics of the topology from what was found
// at the start, and for the topics just created from what they were created with.
func (e *Engine) makeLimits(found map[string]TopicInfo) {
	e.limits = make(map[string]*atomic.Int64)
	for _, name := range e.topicNames() {
		e.limits[name] = new(atomic.Int64)
	}
	for _, own := range e.opts.Topology.Internal {
		e.learnLimit(own.Name, own.Configs)
	}
	for name, info := range found {
		e.learnLimit(name, info.Configs)
	}
}

// learnLimit takes over how large a topic's records may be; where the broker does
// not tell, what was known stays.
func (e *Engine) learnLimit(topic string, configs map[string]string) {
	most, err := strconv.ParseInt(configs[maxMessageBytes], 10, 64)
	if limit := e.limits[topic]; err == nil && limit != nil {
		limit.Store(most)
	}
}

// limitOf is how large the records of a topic of the topology may be, 0 = not known.
func (e *Engine) limitOf(topic string) *atomic.Int64 { return e.limits[topic] }

const maxMessageBytes = "max.message.bytes"
