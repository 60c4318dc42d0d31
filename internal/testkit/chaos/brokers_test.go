package chaos

import (
	"context"
	"fmt"
	"strings"
)

// What is done to the nodes of the cluster. A story that does it must not run
// beside others, and must leave all nodes running.

// brokerServed is how long after the loss of a broker all keys must be served
// again: its session (2 s) must end, leaders and coordinators move and load.
const brokerServed = 3 * served

// role is a part that one node plays for the fleet.
type role string

const (
	leader           role = "leader"
	txnCoordinator   role = "transaction coordinator"
	groupCoordinator role = "group coordinator"
	controller       role = "controller"
)

var roles = []role{leader, txnCoordinator, groupCoordinator, controller}

// nodeOf finds the node that plays a role now, for a job, partition or member
// picked by chance.
func (f *fleet) nodeOf(r role) int {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	j := f.jobs[f.rand.IntN(len(f.jobs))]
	var node int
	var err error
	switch r {
	case leader:
		node, err = f.cluster.Leader(ctx, j.topic("out"), int32(f.rand.IntN(partitions)))
	case groupCoordinator:
		node, err = f.cluster.GroupCoordinator(ctx, j.name)
	case controller:
		node, err = f.cluster.Controller(ctx)
	case txnCoordinator:
		var ids []string
		if ids, err = f.cluster.TransactionalIDs(ctx, j.name); err == nil && len(ids) == 0 {
			err = fmt.Errorf("%s has no transactional ids", j.name)
		}
		if err == nil {
			node, err = f.cluster.TransactionCoordinator(ctx, ids[f.rand.IntN(len(ids))])
		}
	}
	if err == nil && f.kafka.Node(node) == nil {
		err = fmt.Errorf("there is no node %d", node)
	}
	if err != nil {
		f.t.Fatalf("find %s: %v", r, err)
	}
	return node
}

// killNode ends the node that plays a role with SIGKILL.
func (f *fleet) killNode(r role) (node int, x *fault) {
	f.t.Helper()
	node = f.nodeOf(r)
	x = f.fault("SIGKILL of " + string(r))
	f.kafka.Node(node).Kill()
	return node, x
}

// reviveNodes starts the nodes that do not run and waits until every partition
// has all its replicas in sync.
func (f *fleet) reviveNodes() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	if err := f.kafka.Start(ctx); err != nil {
		f.t.Fatal(err)
	}
	behind := "nothing was asked yet"
	f.await("replicas to be in sync", patience, func() bool {
		list, err := f.cluster.UnderReplicated(ctx)
		behind = strings.Join(list, ", ")
		return err == nil && len(list) == 0
	})
	if behind != "" {
		f.t.Fatal(behind)
	}
}

// rollNode stops a node cleanly and starts it again, as an upgrade does.
func (f *fleet) rollNode(node int) *fault {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	x := f.fault("broker restart")
	if err := f.kafka.Node(node).Restart(ctx); err != nil {
		f.t.Fatal(err)
	}
	return x
}
