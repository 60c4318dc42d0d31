package chaos

import (
	"slices"
	"strings"
	"testing"
	"time"

	"streamctl/internal/testkit/faultproxy"
)

// What is done to single requests of a fleet, by the proxies before the nodes.
// The fleet's members bear a client id of their own, so that other stories that
// run meanwhile are left in peace.

// withClient gives the options a client id, and returns it.
func withClient(t *testing.T, o *fleetOptions) string {
	id := strings.ToLower(strings.TrimPrefix(t.Name(), "Test"))
	o.Kafka += "client_id: " + id + "\n"
	return id
}

// strike adds rules for the requests of a client and notes them as a fault.
func (f *fleet) strike(client, kind string, rules ...faultproxy.Rule) (*fault, *faultproxy.Added) {
	f.t.Helper()
	for i := range rules {
		rules[i].Client = client
	}
	x := f.fault(kind)
	added := all.plan.Add(rules...)
	f.t.Cleanup(added.Remove)
	return x, added
}

// ids are the transactional ids that there are of the fleet's producers, but for
// those given.
func (f *fleet) ids(without ...string) []string {
	f.t.Helper()
	var out []string
	for _, j := range f.jobs {
		ids, err := f.cluster.TransactionalIDs(f.t.Context(), j.name)
		if err != nil {
			f.t.Fatal(err)
		}
		out = append(out, ids...)
	}
	out = slices.DeleteFunc(out, func(id string) bool { return slices.Contains(without, id) })
	if len(out) == 0 {
		f.t.Fatal("there are no transactional ids")
	}
	return out
}

// awaitStruck waits until rules have struck n requests.
func (f *fleet) awaitStruck(added *faultproxy.Added, n int) {
	f.t.Helper()
	f.await("a request to strike", patience, func() bool { return added.Struck() >= n })
}

// toldBy is how many lines with all of the parts the members that run have logged.
func (f *fleet) toldBy(parts ...string) int {
	n := 0
	for _, i := range f.which(nil, runs) {
		n += len(f.members[i].now.Lines(func(text string) bool {
			for _, part := range parts {
				if !strings.Contains(text, part) {
					return false
				}
			}
			return true
		}))
	}
	return n
}

// requestServed is how long after the loss of a request all keys must be served again.
const requestServed = 10 * time.Second
