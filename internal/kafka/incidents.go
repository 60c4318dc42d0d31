package kafka

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
)

// incidents counts what was recovered from.
type incidents struct{ engine.IncidentCounts }

// connection counts the end of a connection that was not ended here.
func (i *incidents) connection(err error) {
	switch {
	case errors.Is(err, net.ErrClosed): // by us
	case errors.Is(err, os.ErrDeadlineExceeded):
		i.Add(engine.IncidentRequestTimeout)
	default:
		i.Add(engine.IncidentConnectionLost)
	}
}

// throttled counts an answer that says that we have to wait; sarama does the waiting.
func (i *incidents) throttled(d time.Duration) {
	if d > 0 {
		i.Add(engine.IncidentThrottled)
	}
}

// incidentOf is the name under which a broker's refusal is counted, "" for none.
func incidentOf(err error) string {
	var code sarama.KError
	if !errors.As(err, &code) {
		return ""
	}
	switch code {
	case sarama.ErrConcurrentTransactions:
		return engine.IncidentConcurrentTransaction
	case sarama.ErrUnstableOffsetCommit:
		return engine.IncidentUnstableOffsets
	case sarama.ErrNotLeaderForPartition, sarama.ErrLeaderNotAvailable, sarama.ErrFencedLeaderEpoch, sarama.ErrUnknownLeaderEpoch,
		sarama.ErrReplicaNotAvailable, sarama.ErrUnknownTopicOrPartition, sarama.ErrBrokerNotAvailable:
		return engine.IncidentLeaderMoved
	case sarama.ErrNotCoordinatorForConsumer, sarama.ErrConsumerCoordinatorNotAvailable, sarama.ErrOffsetsLoadInProgress:
		return engine.IncidentCoordinatorMoved
	case sarama.ErrRequestTimedOut:
		return engine.IncidentRequestTimeout
	case sarama.ErrNotEnoughReplicas, sarama.ErrNotEnoughReplicasAfterAppend:
		return engine.IncidentNotEnoughReplicas
	case sarama.ErrKafkaStorageError:
		return engine.IncidentStorageError
	case sarama.ErrThrottlingQuotaExceeded:
		return engine.IncidentThrottled
	case sarama.ErrOutOfOrderSequenceNumber, sarama.ErrDuplicateSequenceNumber:
		return engine.IncidentOutOfOrderSequence
	case sarama.ErrUnknownProducerID, sarama.ErrInvalidProducerIDMapping:
		return engine.IncidentUnknownProducer
	}
	return ""
}

// trouble counts what one operation, or one partition, meets until it succeeds:
// an incident is the first refusal of a kind, not each of its repetitions.
type trouble struct{ last string }

// meet counts err unless it is what was met before.
func (t *trouble) meet(i *incidents, err error) {
	if name := incidentOf(err); name != "" && name != t.last {
		t.last = name
		i.Add(name)
	}
}

// over is called when the operation got through.
func (t *trouble) over() { t.last = "" }
