package pipeline

import (
	"streamctl/internal/diag"
	"streamctl/internal/syntax"
)

// Kafka is the deployment section: where the brokers are and how to log in.
// Its scalars may hold ${env:NAME} and the like; Settings gives the values.
type Kafka struct {
	Span     diag.Span
	Node     *syntax.Node
	Brokers  []Text
	Group    Text // consumer group; default the pipeline's name
	ClientID Text
	TLS      *KafkaTLS
	SASL     *KafkaSASL
}

// KafkaTLS is kafka.tls. An empty mapping (`tls: {}`) switches TLS on with the
// system's authorities.
type KafkaTLS struct {
	Span               diag.Span
	CA                 Text // file, PEM
	Cert, Key          Text // files, PEM: client certificate
	ServerName         Text
	InsecureSkipVerify Text // bool
}

// KafkaSASL is kafka.sasl.
type KafkaSASL struct {
	Span      diag.Span
	Mechanism Text // PLAIN | SCRAM-SHA-256 | SCRAM-SHA-512 | OAUTHBEARER
	Username  Text
	Password  Text // secret
	Token     Text // secret, OAUTHBEARER
}
