package tables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"streamctl/internal/codec"
	"streamctl/internal/engine"
	"streamctl/internal/memlog"
	"streamctl/operators"
	"streamctl/pipeline"
	"streamctl/state"
)

// world is a log with the topics of a pipeline, and the processes that run it.
type world struct {
	t        *testing.T
	topology *operators.Topology
	log      *memlog.Log
	parts    map[string]int32
	disks    map[string]state.FS // by process
	exactly  bool

	mu    sync.Mutex
	rng   *rand.Rand
	calm  bool // nothing goes wrong
	start int64
}

func newWorld(t *testing.T, src string, parts map[string]int32, seed uint64, exactly bool) *world {
	t.Helper()
	result, diags := pipeline.Compile("test.yaml", []byte(src), pipeline.ParseOptions{})
	if diags.HasErrors() {
		var out strings.Builder
		_ = result.File.Printer().Print(&out, diags)
		t.Fatalf("compile:\n%s", out.String())
	}
	w := &world{t: t, topology: result.Topology, parts: parts, disks: map[string]state.FS{}, exactly: exactly,
		rng: rand.New(rand.NewPCG(seed, 3)), start: time.Now().Add(-time.Hour).UnixMilli()}
	w.log = memlog.New(memlog.Config{Clock: engine.SystemClock{}, FetchRecords: 5, Faults: w.fault})
	for topic, n := range parts {
		if err := w.log.CreateTopic(topic, n, map[string]string{"cleanup.policy": "compact"}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) fault(op memlog.Op) memlog.Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	chance := func(p float64) bool { return !w.calm && w.rng.Float64() < p }
	switch {
	case op.Kind == memlog.OpCommit && chance(0.15):
		outcomes := []memlog.Outcome{memlog.Aborted, memlog.UnknownCommitted, memlog.UnknownAborted, memlog.CrashBefore, memlog.CrashAfter}
		return memlog.Fault{Outcome: outcomes[w.rng.IntN(len(outcomes))]}
	case op.Kind == memlog.OpFetch && chance(0.2):
		return memlog.Fault{Skip: true}
	case op.Kind == memlog.OpSend && chance(0.2):
		return memlog.Fault{Hold: true}
	case op.Kind == memlog.OpSend && chance(0.002):
		return memlog.Fault{Crash: true}
	}
	return memlog.Fault{}
}

// produce writes a record as a Java client would; "-" deletes.
func (w *world) produce(topic, key, value string, at int64) {
	var val []byte
	if value != "-" {
		val = []byte(value)
	}
	w.log.Produce(topic, codec.Partition([]byte(key), w.parts[topic]), []byte(key), val, w.start+at)
}

// run runs the pipeline to the end of what is there, over crashes and lost
// disks: sometimes in two processes, each of which keeps copies of what the other runs.
func (w *world) run() {
	w.t.Helper()
	names := []string{"one"}
	w.mu.Lock()
	if w.rng.IntN(3) == 0 {
		names = append(names, "two")
	}
	w.mu.Unlock()
	var lives sync.WaitGroup
	errs := make([]error, len(names))
	for i, name := range names {
		lives.Go(func() { errs[i] = w.lives(name, len(names)-1) })
	}
	lives.Wait()
	if err := errors.Join(errs...); err != nil {
		w.t.Fatal(err)
	}
}

// lives runs a process until it has come to the end.
func (w *world) lives(name string, standbys int) error {
	for attempt := range 200 {
		w.mu.Lock()
		w.calm = attempt > 20
		switch {
		case w.disks[name] == nil || w.rng.IntN(4) == 0:
			w.disks[name] = state.NewCrashFS()
		case attempt > 0:
			w.disks[name] = state.CrashClone(w.disks[name], w.rng.IntN(101), w.rng.Uint64())
		}
		disk := w.disks[name]
		w.mu.Unlock()
		db, err := state.Open(state.Options{Dir: "state", FS: disk})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		_, err = engine.Run(ctx, engine.Options{
			Topology: w.topology, Transport: w.log.Transport(memlog.TransportConfig{Group: "p", Instance: name}), State: db,
			ExactlyOnce: w.exactly, UntilEnd: true, Instance: name, Workers: 2, Standbys: standbys, CommitInterval: 200 * time.Microsecond,
		})
		late := ctx.Err()
		cancel()
		_ = db.Close()
		if late != nil {
			return fmt.Errorf("process %s did not come to its end: %w", name, errors.Join(late, err))
		}
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("process %s: no end after 200 restarts", name)
}

// rows is the table that a topic holds.
func (w *world) rows(topic string) map[string]string {
	out := map[string]string{}
	for _, partition := range w.log.ReadCommitted(topic) {
		for _, r := range partition {
			if out[string(r.Key)] = string(r.Value); r.Value == nil {
				delete(out, string(r.Key))
			}
		}
	}
	return out
}

// inVain lists keys that a topic deletes where they were not there.
func (w *world) inVain(topic string) (keys []string) {
	for _, partition := range w.log.ReadCommitted(topic) {
		there := map[string]bool{}
		for _, r := range partition {
			if r.Value == nil && !there[string(r.Key)] {
				keys = append(keys, string(r.Key))
			}
			there[string(r.Key)] = r.Value != nil
		}
	}
	return keys
}

func (w *world) want(what string, got, want map[string]string) {
	w.t.Helper()
	if maps.Equal(got, want) {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			w.t.Errorf("%s: %s is %q, want %q", what, key, got[key], want[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			w.t.Errorf("%s: %s is %q, want nothing", what, key, got[key])
		}
	}
}

const joins = `
pipeline: p
tables:
  orders: {topic: orders}
  notes: {topic: notes, key: value.order}
  users: {topic: users}
  firms: {topic: firms}
  noted: {from: orders o, join: [{outer: notes m, on: o.key == m.key}], select: [{user: o.user}, {n: o.n}, {text: m.text}]}
  full:
    from: noted o
    join:
      - left: users u
        on: o.user == u.key
      - inner: firms f
        on: u.firm == f.key
    select: [{n: o.n}, {text: o.text}, {name: u.name}, {firm: f.name}]
sinks:
  noted_out: {from: noted, topic: noted}
  full_out: {from: full, topic: full}
`

// order, user: rows of the model.
type order struct {
	user string
	n    int
}
type user struct{ name, firm string }

func TestJoinsOfTablesHoldTheJoinOfTheTables(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		exactly := seed%2 == 0
		t.Run(fmt.Sprintf("seed=%d exactly=%v", seed, exactly), func(t *testing.T) {
			t.Parallel()
			src := joins
			if !exactly {
				src += "guarantee: at_least_once\n"
			}
			w := newWorld(t, src, map[string]int32{"orders": 3, "notes": 2, "users": 2, "firms": 4, "noted": 3, "full": 3}, seed, exactly)
			rng := rand.New(rand.NewPCG(seed, 9))
			orders, notes, users, firms := map[string]order{}, map[string]string{}, map[string]user{}, map[string]string{}
			at := int64(0)
			for round := range 4 {
				for range 60 {
					at++
					o, u, f := fmt.Sprint("o", rng.IntN(5)), fmt.Sprint("u", rng.IntN(3)), fmt.Sprint("f", rng.IntN(2))
					gone := rng.IntN(4) == 0
					value := "-"
					switch rng.IntN(4) {
					case 0:
						if delete(orders, o); !gone {
							orders[o] = order{u, int(at)}
							value = fmt.Sprintf(`{"user":%q,"n":%d}`, u, at)
						}
						w.produce("orders", o, value, at)
					case 1:
						if delete(notes, o); !gone {
							notes[o] = fmt.Sprint("t", at)
							value = fmt.Sprintf(`{"order":%q,"text":"t%d"}`, o, at)
						}
						w.produce("notes", "n"+o, value, at)
					case 2:
						if delete(users, u); !gone {
							users[u] = user{fmt.Sprint("n", at), f}
							value = fmt.Sprintf(`{"name":"n%d","firm":%q}`, at, f)
						}
						w.produce("users", u, value, at)
					case 3:
						if delete(firms, f); !gone {
							firms[f] = fmt.Sprint("f", at)
							value = fmt.Sprintf(`{"name":"f%d"}`, at)
						}
						w.produce("firms", f, value, at)
					}
				}
				w.run()
				noted, full := modelOfJoins(orders, notes, users, firms)
				w.want(fmt.Sprintf("round %d, noted", round), w.rows("noted"), noted)
				w.want(fmt.Sprintf("round %d, full", round), w.rows("full"), full)
			}
			if exactly && len(w.inVain("noted"))+len(w.inVain("full")) > 0 {
				t.Errorf("deletions of what was not there: %q %q", w.inVain("noted"), w.inVain("full"))
			}
		})
	}
}

func modelOfJoins(orders map[string]order, notes map[string]string, users map[string]user, firms map[string]string) (noted, full map[string]string) {
	noted, full = map[string]string{}, map[string]string{}
	text := func(s string, ok bool) string {
		if !ok {
			return "null"
		}
		return fmt.Sprintf("%q", s)
	}
	for i := range 5 {
		key := fmt.Sprint("o", i)
		o, isOrder := orders[key]
		note, isNote := notes[key]
		if !isOrder && !isNote {
			continue
		}
		n := "null"
		if isOrder {
			n = fmt.Sprint(o.n)
		}
		noted[key] = fmt.Sprintf(`{"user":%s,"n":%s,"text":%s}`, text(o.user, isOrder), n, text(note, isNote))
		u, isUser := users[o.user]
		f, isFirm := firms[u.firm]
		if isOrder && isUser && isFirm {
			full[key] = fmt.Sprintf(`{"n":%s,"text":%s,"name":"%s","firm":"%s"}`, n, text(note, isNote), u.name, f)
		}
	}
	return noted, full
}

const lookups = `
pipeline: p
sources:
  sales: {topic: sales}
tables:
  rates: {topic: rates, replicate: true}
  prices: {topic: prices, key: value.item, versioned: 1h}
  moods: {topic: moods, versioned: 1h}
streams:
  priced:
    from: sales s
    join:
      - inner: rates r
        on: s.code == r.key
      - left: moods m
        on: s.shop == m.key
        as_of: true
        grace: 10ms
      - left: prices p
        on: s.item == p.key
        as_of: true
    select: [{rate: r.rate}, {price: p.price}, {mood: m.mood}]
sinks:
  out: {from: priced, topic: out}
`

// All is there before the pipeline starts: no sale may miss a rate, and each
// finds price and mood as they were when it happened, although the prices come by way of
// a copying step.
func TestLookupsOfReplicatedAndVersionedTables(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lookups, map[string]int32{"sales": 3, "rates": 2, "prices": 2, "moods": 4, "out": 3}, seed, true)
			rng := rand.New(rand.NewPCG(seed, 5))
			for i := range 6 {
				w.produce("rates", fmt.Sprint("c", i), fmt.Sprintf(`{"rate":%d}`, i), 100_000+int64(i))
			}
			want := map[string]string{}
			price, mood := map[string]int64{}, map[string]int64{}
			for at := int64(0); at < 200; at++ {
				item, shop := fmt.Sprint("i", rng.IntN(3)), fmt.Sprint("s", rng.IntN(3))
				switch rng.IntN(3) {
				case 0:
					w.produce("prices", item, fmt.Sprintf(`{"item":%q,"price":%d}`, item, at), at)
					price[item] = at
				case 1:
					w.produce("moods", shop, fmt.Sprintf(`{"mood":%d}`, at), at)
					mood[shop] = at
				case 2:
					code := rng.IntN(6)
					w.produce("sales", fmt.Sprint(at), fmt.Sprintf(`{"code":"c%d","item":%q,"shop":%q}`, code, item, shop), at)
					want[fmt.Sprint(at)] = fmt.Sprintf(`{"rate":%d,"price":%s,"mood":%s}`, code, known(price, item), known(mood, shop))
				}
			}
			for p := range int32(4) { // time moves on in every task
				w.produce("moods", keyOf(p, 4), `{"mood":0}`, 1000)
			}
			for p := range int32(3) { // and in those that sales come from
				w.produce("sales", keyOf(p, 3), `{"code":"c0","item":"x","shop":"x"}`, 1000)
			}
			w.run()
			got := w.rows("out")
			for p := range int32(3) {
				delete(got, keyOf(p, 3))
			}
			w.want("sales", got, want)
		})
	}
}

// keyOf is a key that lies in a partition.
func keyOf(partition, partitions int32) string {
	for i := 0; ; i++ {
		if key := fmt.Sprint("end", i); codec.Partition([]byte(key), partitions) == partition {
			return key
		}
	}
}

func known(m map[string]int64, key string) string {
	if v, ok := m[key]; ok {
		return fmt.Sprint(v)
	}
	return "null"
}
