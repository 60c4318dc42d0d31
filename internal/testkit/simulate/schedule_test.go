package simulate

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"streamctl/internal/memlog"
	"streamctl/internal/record"
)

// simulation is one seed: a cluster, some processes, and a scheduler that says
// which goroutine of which process makes its next step, and what goes wrong.
//
// Every call of a port, and every place where one goroutine of the engine wakes
// another, is a gate at which the goroutine waits. The scheduler waits until all
// goroutines are at their gates (synctest.Wait says so), picks one, and opens its
// gate. So one goroutine runs at a time, everything that decides is drawn from one
// random source, and a seed is one run, always the same.
type simulation struct {
	work  *workload
	plan  plan
	seed  uint64
	rand  *rand.Rand // the scheduler's, and of the one goroutine that runs
	clock *memlog.Clock
	log   *memlog.Log

	mu    sync.Mutex
	gates []*gate
	byID  map[string]*process

	slots     []*slot
	processes []*process // that have not ended
	foreign   []*memlog.Tx
	steps     int
	calm      bool // nothing goes wrong any more
	closing   bool // nothing is started any more
	awaited   awaited
	failure   error
	input     *input
	audit     audit
	kills     int
	compared  int // tables that were compared with their changelogs
	trace     trace
}

// gate is a goroutine that waits for its turn.
type gate struct {
	process *process
	name    string     // what it is about to do, the same in every run of a seed
	op      *memlog.Op // nil = a step of the engine itself
	step    int        // when it came
	since   time.Time
	open    chan memlog.Fault
}

const (
	// stormSteps bounds how long things go wrong, calmSteps how long the
	// processes may take to come to their end after it.
	stormSteps = 700
	calmSteps  = 20_000
	calmTime   = 3 * time.Minute
)

var (
	errInjected = errors.New("injected failure")
	errNoEnd    = errors.New("the processes come to no end")
)

// start is when the virtual clock starts.
func start() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func newSimulation(w *workload, seed uint64, verbose bool) *simulation {
	r := rand.New(rand.NewPCG(seed, 0x51))
	s := &simulation{work: w, seed: seed, rand: r, clock: memlog.NewClock(start()), byID: make(map[string]*process)}
	s.trace = trace{verbose: verbose, hash: fnv.New64a()}
	s.plan = newPlan(r, w)
	s.audit = audit{s: s, owners: make(map[turn]string), out: make(map[string]bool), newest: make(map[record.TopicPartition]int32), offsets: make(map[record.TopicPartition]int64)}
	s.log = memlog.New(memlog.Config{
		Clock: s.clock, Gated: true, Faults: s.fault, Audit: s.audit.committed,
		FetchRecords: 1 + r.IntN(30), FetchBytes: 500 + r.IntN(20_000),
		SlowMarkers:    s.plan.slowMarkers > 0,
		SessionTimeout: s.plan.sessionTimeout, TransactionTimeout: s.plan.transactionTimeout,
	})
	for i := range s.plan.slots {
		s.slots = append(s.slots, &slot{name: [...]string{"one", "two", "three"}[i]})
	}
	s.input = newInput(s)
	s.note("plan %+v", s.plan)
	return s
}

// run is the whole of it: a time in which things go wrong, and a calm one in
// which the processes must come to the end of their input.
func (s *simulation) run() error {
	defer s.tearDown()
	s.input.begin()
	for s.steps = 1; s.steps <= s.plan.storm; s.steps++ {
		if err := s.step(); err != nil {
			return err
		}
		if s.plan.barrier > 0 && s.steps%s.plan.barrier == 0 {
			if err := s.settle(); err != nil {
				return err
			}
		}
		synctest.Wait() // those who come to a gate read the number of the step
	}
	if err := s.settle(); err != nil {
		return err
	}
	return s.finish()
}

// step makes one choice.
func (s *simulation) step() error {
	synctest.Wait()
	if err := s.reap(); err != nil {
		return err
	}
	if s.failure != nil {
		return s.failure
	}
	if s.calm && !s.closing && len(s.processes) == 0 {
		s.startProcess(s.slots[s.rand.IntN(len(s.slots))])
		return nil
	}
	if !s.calm && s.rand.Float64() < s.plan.actionRate {
		s.act()
		return nil
	}
	ready := s.ready()
	if markers := s.log.PendingMarkers(); markers > 0 && (len(ready) == 0 || s.rand.Float64() < s.plan.slowMarkers) {
		n := s.rand.IntN(markers)
		s.note("marker %d of %d is written", n, markers)
		s.log.WriteMarker(n)
		return nil
	}
	if len(ready) == 0 {
		return s.idle()
	}
	s.release(s.choose(ready))
	if s.rand.IntN(4) == 0 {
		s.advance(time.Duration(s.rand.IntN(int(s.plan.stepTime))))
	}
	return nil
}

// ready lists the gates that can be opened, in an order that is the same in
// every run: by when they came and what they are.
func (s *simulation) ready() []*gate {
	s.mu.Lock()
	gates := slices.Clone(s.gates)
	s.mu.Unlock()
	gates = slices.DeleteFunc(gates, func(g *gate) bool {
		if g.process.pausedUntil > s.steps {
			return true
		}
		if g.op == nil || g.op.Ready == nil || g.op.Ready() {
			return false
		}
		return g.op.Kind != memlog.OpPoll || s.clock.Now().Before(g.since.Add(g.op.Wait))
	})
	slices.SortFunc(gates, func(a, b *gate) int {
		return cmp.Or(cmp.Compare(a.step, b.step), strings.Compare(a.process.id, b.process.id), strings.Compare(a.name, b.name))
	})
	return gates
}

// choose picks one: fast processes more often than slow ones, and now and then
// the one that has waited longest, so that nobody starves.
func (s *simulation) choose(ready []*gate) *gate {
	if s.rand.IntN(8) == 0 {
		return ready[0]
	}
	sum := 0
	for _, g := range ready {
		sum += g.process.speed
	}
	n := s.rand.IntN(sum)
	for _, g := range ready {
		if n -= g.process.speed; n < 0 {
			return g
		}
	}
	return ready[0]
}

// release opens a gate.
func (s *simulation) release(g *gate) {
	f, what := s.faultFor(g)
	s.note("%s %s%s", g.process.id, g.name, what)
	s.remove(g)
	g.open <- f
	synctest.Wait() // nothing is drawn or noted beside it
}

func (s *simulation) remove(g *gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gates = slices.DeleteFunc(s.gates, func(o *gate) bool { return o == g })
}

// idle lets time pass until something can happen.
func (s *simulation) idle() error {
	now := s.clock.Now()
	due, ok := s.clock.Next()
	s.mu.Lock()
	paused := 0
	for _, g := range s.gates {
		if g.process.pausedUntil > s.steps {
			paused++
			continue
		}
		if g.op != nil && g.op.Kind == memlog.OpPoll {
			if at := g.since.Add(g.op.Wait); !ok || at.Before(due) {
				due, ok = at, true
			}
		}
	}
	s.mu.Unlock()
	if !ok && paused == 0 && len(s.processes) > 0 {
		return fmt.Errorf("%w: no goroutine can go on", errNoEnd)
	}
	if ok && due.After(now) {
		s.advance(due.Sub(now))
	} else {
		s.advance(time.Millisecond)
	}
	return nil
}

// advance moves both clocks: that of the bubble, which contexts use, and that
// of the ports.
func (s *simulation) advance(d time.Duration) {
	if d <= 0 {
		return
	}
	time.Sleep(d)
	synctest.Wait()
	s.clock.Advance(d)
	synctest.Wait()
}

// wait is a gate.
func (s *simulation) wait(p *process, name string, op *memlog.Op) memlog.Fault {
	s.mu.Lock()
	if p.dead {
		s.mu.Unlock()
		return memlog.Fault{}
	}
	g := &gate{process: p, name: name, op: op, step: s.steps, since: s.clock.Now(), open: make(chan memlog.Fault)}
	s.gates = append(s.gates, g)
	s.mu.Unlock()
	return <-g.open
}

// fault is where the cluster asks about every operation. Single fetches and
// sends are decided at once, by the goroutine whose turn it is; all else waits
// for its turn.
func (s *simulation) fault(op memlog.Op) memlog.Fault {
	s.mu.Lock()
	p := s.byID[op.Transport]
	dead := p.dead
	s.mu.Unlock()
	if dead {
		return memlog.Fault{}
	}
	switch op.Kind {
	case memlog.OpFetch:
		if f := s.fetchFault(p, op); f != (memlog.Fault{}) || s.calm || s.rand.IntN(50) > 0 {
			return f
		}
	case memlog.OpSend:
		if s.calm {
			return memlog.Fault{}
		}
		if f := s.sendFault(p, op); f != (memlog.Fault{}) || s.rand.IntN(50) > 0 {
			return f
		}
	}
	name := op.Kind.String()
	if op.ID != "" {
		name += " " + op.ID
	}
	if op.TP.Topic != "" {
		name += fmt.Sprintf(" %s/%d", op.TP.Topic, op.TP.Partition)
	}
	return s.wait(p, name, &op)
}

// note writes what happens into the trace.
func (s *simulation) note(format string, args ...any) {
	s.trace.add(fmt.Sprintf("%5d %8s ", s.steps, s.clock.Now().Sub(start()).Round(10*time.Microsecond)) + fmt.Sprintf(format, args...))
}

// fail notes the first thing that must not be.
func (s *simulation) fail(format string, args ...any) {
	if s.failure == nil {
		s.failure = fmt.Errorf(format, args...)
		s.note("FAILURE %v", s.failure)
	}
}

// tearDown ends all that still runs, so that the bubble can end.
func (s *simulation) tearDown() {
	for _, p := range slices.Clone(s.processes) {
		s.bury(p)
	}
	time.Sleep(time.Minute) // what a failed store leaves behind ends by itself
}

// turn is a task's input in one generation.
type turn struct {
	tp         record.TopicPartition
	generation int32
}

// audit looks at every commit that takes effect.
type audit struct {
	s       *simulation
	owners  map[turn]string
	newest  map[record.TopicPartition]int32
	out     map[string]bool // members that another one has replaced
	offsets map[record.TopicPartition]int64
	commits int
}

// committed is called with the cluster's lock held.
func (a *audit) committed(c memlog.Committing) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.commits++
	a.s.note("  %s of %s in generation %d has committed %s", c.Producer, c.Group.Member, c.Group.Generation, offsetsText(c.Offsets))
	for tp, off := range c.Offsets {
		t := turn{tp, c.Group.Generation}
		if other, ok := a.owners[t]; ok && other != c.Group.Member {
			// A static member may take the place of its former self within a generation; that is out then.
			if !a.s.plan.static || machine(other) != machine(c.Group.Member) {
				a.s.fail("both %s and %s have committed %s/%d in generation %d", other, c.Group.Member, tp.Topic, tp.Partition, t.generation)
			}
			a.out[other] = true
		}
		if a.out[c.Group.Member] {
			a.s.fail("%s has committed %s/%d in generation %d after another one in its place", c.Group.Member, tp.Topic, tp.Partition, t.generation)
		}
		a.owners[t] = c.Group.Member
		if a.newest[tp] > t.generation {
			a.s.fail("%s has committed %s/%d in generation %d, another one did so in %d already", c.Group.Member, tp.Topic, tp.Partition, t.generation, a.newest[tp])
		}
		a.newest[tp] = t.generation
		if off < a.offsets[tp] && a.s.work.exactly {
			a.s.fail("%s has committed %s/%d back to %d from %d", c.Group.Member, tp.Topic, tp.Partition, off, a.offsets[tp])
		}
		a.offsets[tp] = off
	}
}

// decided gives the offsets that are committed, be their markers written or not.
func (a *audit) decided() map[record.TopicPartition]int64 {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	return maps.Clone(a.offsets)
}

func offsetsText(offsets map[record.TopicPartition]int64) string {
	var parts []string
	for tp, off := range offsets {
		parts = append(parts, fmt.Sprintf("%s/%d=%d", tp.Topic, tp.Partition, off))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// machine is the slot's name within a member's id.
func machine(member string) string {
	name, _, _ := strings.Cut(member, ".")
	return name
}
