// Package kafka implements the engine's ports on a Kafka cluster. It owns the
// connections, the fetch and produce loops, the transaction protocol and the
// group membership, all of them over the protocol layer of sarama (its
// requests, responses and broker connections, not its consumer or producer).
// It must not know what records mean: no formats, no operators, no state.
//
// A tour: settings.go says what can be set, link.go is one connection,
// bootstrap.go makes the first one, cluster.go knows who leads what. source.go
// and fetchloop.go fetch, tap.go keeps the answers back from sarama, answer.go and
// decode.go turn them into records. producer.go takes
// records, sendloop.go sends them, size.go says how large they are, txn.go and
// commit.go make a unit of work out of them. group.go is the membership, join.go
// its protocol, assignor.go decides who owns which task. admin.go and reset.go are
// the control plane. transport.go ties it together.
package kafka
