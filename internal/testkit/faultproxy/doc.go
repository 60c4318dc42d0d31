// Package faultproxy stands between Kafka clients and a broker and makes the
// network, or the broker, fail: by rule, or by seeded chance. It knows the frames
// of Kafka's protocol, so that a fault can strike one kind of request: the reply
// to an EndTxn is lost, every tenth Produce comes late, AddPartitionsToTxn is
// refused twenty times. It must not know the product.
//
//	plan := faultproxy.NewPlan(seed)
//	advertise := func(addr string) (string, error) { // for kafkatest.Options
//		p, err := faultproxy.Start(addr, faultproxy.Options{Plan: plan})
//		...
//		return p.Addr(), nil
//	}
//	plan.SetRules(faultproxy.Rule{Kind: faultproxy.DropReply, APIs: []faultproxy.API{faultproxy.EndTxn}, Times: 1})
//
// One proxy stands before one broker; proxies of several brokers share a Plan,
// which decides and counts. Brokers must advertise the proxies. Connections must
// not be encrypted.
//
// proxy.go has the connections, plan.go the rules and the chance, refuse.go the
// answers that the proxy gives in the place of the broker, counts.go what was done.
package faultproxy
