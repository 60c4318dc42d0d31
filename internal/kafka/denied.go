package kafka

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

// subject is what a request was about: what names the permission that was missing.
type subject struct {
	operation string // of Kafka's ACLs, on the topic or the cluster
	topic     string
	group     string
	id        string // transactional
}

// permission adds to a refusal which permission would have let the request
// through. Other errors stay as they are.
func permission(err error, s subject) error {
	var needs string
	switch {
	case errors.Is(err, sarama.ErrTopicAuthorizationFailed):
		needs = s.operation + " on topic " + s.topic
	case errors.Is(err, sarama.ErrGroupAuthorizationFailed):
		needs = "Read on group " + s.group
	case errors.Is(err, sarama.ErrTransactionalIDAuthorizationFailed):
		needs = "Write and Describe on transactional id " + s.id
	case errors.Is(err, sarama.ErrClusterAuthorizationFailed):
		needs = s.operation + " on the cluster"
	default:
		return err
	}
	return fmt.Errorf("%w; it needs the permission (ACL) %s", err, needs)
}
