package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/IBM/sarama"
)

// backoff gives the waits between attempts: doubling from 10 ms to 1 s, each
// drawn from the upper half of its step, so that clients part.
type backoff struct{ attempt int }

const (
	backoffFirst = 10 * time.Millisecond
	backoffMost  = time.Second
)

func (b *backoff) next() time.Duration {
	step := backoffMost
	if b.attempt < 7 {
		step = min(backoffFirst<<b.attempt, backoffMost)
	}
	b.attempt++
	return step/2 + rand.N(step/2)
}

func (b *backoff) reset() { b.attempt = 0 }

// soonMost bounds the waits for what is known to pass within milliseconds.
const soonMost = 40 * time.Millisecond

// after is next, but impatient where the broker only finishes a transaction.
func (b *backoff) after(err error) time.Duration {
	d := b.next()
	if errors.Is(err, errAgain) || errors.Is(err, sarama.ErrConcurrentTransactions) || errors.Is(err, sarama.ErrUnstableOffsetCommit) {
		return min(d, soonMost/2+rand.N(soonMost/2))
	}
	return d
}

// pause waits for d or the end of ctx, whose error it returns.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// linkError is a failure of a connection: it is not known whether the request
// was executed.
type linkError struct {
	addr string
	err  error
}

func (e *linkError) Error() string { return fmt.Sprintf("talk to broker %s: %v", e.addr, e.err) }
func (e *linkError) Unwrap() error { return e.err }

// errAgain asks for another attempt at once that is no fault of anybody's.
var errAgain = errors.New("once more")

// retriable says whether the same request may succeed a little later.
func retriable(err error) bool {
	var link *linkError
	if errors.As(err, &link) {
		return !denied(err)
	}
	if errors.Is(err, errAgain) {
		return true
	}
	var code sarama.KError
	if !errors.As(err, &code) {
		return false
	}
	switch code {
	case sarama.ErrUnknownTopicOrPartition, sarama.ErrLeaderNotAvailable, sarama.ErrNotLeaderForPartition,
		sarama.ErrRequestTimedOut, sarama.ErrBrokerNotAvailable, sarama.ErrReplicaNotAvailable, sarama.ErrNetworkException,
		sarama.ErrOffsetsLoadInProgress, sarama.ErrConsumerCoordinatorNotAvailable, sarama.ErrNotCoordinatorForConsumer,
		sarama.ErrNotEnoughReplicas, sarama.ErrNotEnoughReplicasAfterAppend, sarama.ErrNotController, sarama.ErrKafkaStorageError,
		sarama.ErrFencedLeaderEpoch, sarama.ErrUnknownLeaderEpoch, sarama.ErrOffsetNotAvailable, sarama.ErrUnstableOffsetCommit,
		sarama.ErrConcurrentTransactions, sarama.ErrPreferredLeaderNotAvailable, sarama.ErrThrottlingQuotaExceeded,
		sarama.ErrEligibleLeadersNotAvailable, sarama.ErrStaleBrokerEpoch, sarama.ErrUnknown:
		return true
	}
	return false
}

// moved says that the coordinator has to be looked up again.
func moved(err error) bool {
	return errors.Is(err, sarama.ErrNotCoordinatorForConsumer) || errors.Is(err, sarama.ErrConsumerCoordinatorNotAvailable)
}

// denied says that credentials, certificates or permissions are not accepted:
// no retry helps.
func denied(err error) bool {
	var unverified *tls.CertificateVerificationError
	var remote *net.OpError // a TLS alert of the broker has no type of its own
	if errors.As(err, &unverified) || errors.As(err, &remote) && remote.Op == "remote error" {
		return true
	}
	for _, code := range []sarama.KError{
		sarama.ErrSASLAuthenticationFailed, sarama.ErrUnsupportedSASLMechanism, sarama.ErrTopicAuthorizationFailed,
		sarama.ErrGroupAuthorizationFailed, sarama.ErrClusterAuthorizationFailed, sarama.ErrTransactionalIDAuthorizationFailed,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}
