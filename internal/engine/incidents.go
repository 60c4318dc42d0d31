package engine

import (
	"maps"
	"sync"
)

// What a process recovers from by itself is counted under these names, in its
// ports (Transport.Incidents) and in the engine (Stats.Incidents); they are the
// values of the label `incident` of the metric streamctl_incidents_total, and
// the rows of the failure table in docs/operations.md.
const (
	IncidentRebalance             = "rebalance"               // the group formed anew
	IncidentMembershipLost        = "membership_lost"         // session ended, unknown member, stale generation
	IncidentFenced                = "fenced"                  // a commit was refused: another producer or generation took over
	IncidentLostMemberFenced      = "lost_member_fenced"      // what a process that is gone left open was ended for it
	IncidentProducerRenewed       = "producer_renewed"        // a producer was initialised anew
	IncidentUnknownOutcome        = "unknown_commit_outcome"  // EndTxn or AddOffsets without an answer
	IncidentConcurrentTransaction = "concurrent_transactions" // the coordinator still ends the one before
	IncidentTransactionTimeout    = "transaction_timeout"     // the broker ended a transaction that took too long
	IncidentOutOfOrderSequence    = "out_of_order_sequence"   // the broker missed a batch of this producer
	IncidentUnknownProducer       = "unknown_producer_id"     // the broker has forgotten this producer
	IncidentUnstableOffsets       = "unstable_offsets"        // committed offsets waited for a transaction
	IncidentLeaderMoved           = "leader_moved"            // a partition has another leader
	IncidentCoordinatorMoved      = "coordinator_moved"       // of the group or of transactions
	IncidentConnectionLost        = "connection_lost"         // a broker closed a connection, or cannot be reached
	IncidentRequestTimeout        = "request_timeout"         // an answer took too long, or the broker gave up waiting for replicas
	IncidentNotEnoughReplicas     = "not_enough_replicas"     // fewer than min.insync.replicas: waited for
	IncidentStorageError          = "storage_error"           // the disk of a broker failed
	IncidentThrottled             = "throttled"               // a quota of the broker made us wait
	IncidentStateCorrupt          = "state_corrupt"           // quarantined and rebuilt
	IncidentStateFull             = "state_disk_full"         // stopped until there was space
	IncidentStateStale            = "state_stale"             // older than its topic keeps deletions, or than its first record, or of another form of the pipeline: rebuilt
	IncidentSourceTruncated       = "source_truncated"        // went on behind records that are gone, as on_gap says
)

// IncidentCounts counts incidents by their names. The zero value is ready, and
// callable from any goroutine.
type IncidentCounts struct {
	mu     sync.Mutex
	counts map[string]int64
}

// Add counts one.
func (c *IncidentCounts) Add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(map[string]int64)
	}
	c.counts[name]++
}

// All is a copy of the counts.
func (c *IncidentCounts) All() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}
