package simulate

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"streamctl/internal/memlog"
)

// plan is what a seed is made of: how many processes, how large the input is,
// what goes wrong how often. Most seeds have some kinds of faults only, so that
// each kind is met alone, in pairs and all at once.
type plan struct {
	slots      int   // processes at most
	partitions int32 // of every topic
	workers    int   // per process at most
	static     bool  // members keep their instance id
	views      int
	batches    int // in which views and edits come
	storm      int // steps in which things go wrong
	barrier    int // steps between two times at which all is processed; 0 = once, at the end
	actionRate float64
	stepTime   time.Duration // how much time a step takes at most

	sessionTimeout, transactionTimeout, commitInterval time.Duration

	slowMarkers float64 // how likely a marker is written rather than a step made, where one waits; 0 = markers are written at once

	standbys      int
	acceptableLag int64
	racks         bool
	cleanup       time.Duration // after which state that lies idle is deleted; 0 = the engine's default

	// Chances of faults at the ports.
	commitFault, adminError, fetchSkip, fetchError, sendHold float64
	// weights of what the scheduler does beside opening gates.
	weights [actions]int
}

// action is something that happens to a process or to the cluster.
type action int

const (
	actStart action = iota
	actStop
	actKill
	actKick
	actPause
	actFull
	actReplace
	actProduce
	actForeign
	actCompact
	actJump
	actSpeed
	actions
)

func (a action) String() string {
	return [...]string{"start", "stop", "kill", "kick", "pause", "full", "replace", "produce", "foreign", "compact", "jump", "speed"}[a]
}

// usual weights; actions that are faults are switched on per seed.
var (
	usualWeights = [actions]int{actStart: 10, actStop: 3, actKill: 6, actKick: 3, actPause: 4, actFull: 2, actReplace: 2,
		actProduce: 8, actForeign: 4, actCompact: 3, actJump: 3, actSpeed: 4}
	always = [actions]bool{actStart: true, actProduce: true, actSpeed: true}
)

func newPlan(r *rand.Rand, w *workload) plan {
	p := plan{
		slots: 1 + r.IntN(3), partitions: int32(1 + r.IntN(3)), workers: 1 + r.IntN(2), static: r.IntN(2) == 0,
		views: 5 + r.IntN(70), batches: 1 + r.IntN(5), storm: 50 + r.IntN(stormSteps),
		actionRate: 0.01 + 0.09*r.Float64(), stepTime: pick(r, 100*time.Microsecond, time.Millisecond, 20*time.Millisecond),
		sessionTimeout: pick(r, time.Second, 10*time.Second, 45*time.Second), transactionTimeout: pick(r, 2*time.Second, 10*time.Second, time.Minute),
		commitInterval: pick(r, time.Millisecond, 10*time.Millisecond, 100*time.Millisecond),
	}
	p.standbys, p.acceptableLag, p.racks = r.IntN(2), pick[int64](r, 1, 10, 10_000), r.IntN(4) == 0
	p.cleanup = pick(r, 0, time.Second)
	if r.IntN(2) == 0 {
		p.slowMarkers = pick(r, 0.02, 0.1, 0.5)
	}
	if w.single {
		p.slots = 1
	}
	if r.IntN(3) == 0 {
		p.barrier = 80 + r.IntN(100)
	}
	for _, chance := range []struct {
		of  *float64
		max float64
	}{{&p.commitFault, 0.4}, {&p.adminError, 0.05}, {&p.fetchSkip, 0.3}, {&p.fetchError, 0.005}, {&p.sendHold, 0.3}} {
		on, size := r.IntN(2) == 0, r.Float64()
		if on {
			*chance.of = size * chance.max
		}
	}
	for a := range actions {
		on := r.IntN(3) > 0
		if always[a] || on {
			p.weights[a] = usualWeights[a]
		}
	}
	p.without(os.Getenv("STREAMCTL_WITHOUT"))
	return p
}

// without switches kinds of misfortune off, by their names, to find the culprit.
func (p *plan) without(names string) {
	for _, name := range strings.Split(names, ",") {
		for a := range actions {
			if a.String() == name {
				p.weights[a] = 0
			}
		}
		for of, chance := range map[string]*float64{"commit": &p.commitFault, "admin": &p.adminError, "skip": &p.fetchSkip, "fetch": &p.fetchError, "hold": &p.sendHold} {
			if of == name {
				*chance = 0
			}
		}
	}
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// faultFor draws what happens to the operation of a gate.
func (s *simulation) faultFor(g *gate) (f memlog.Fault, what string) {
	if s.calm || g.op == nil {
		return memlog.Fault{}, ""
	}
	switch g.op.Kind {
	case memlog.OpFetch, memlog.OpSend, memlog.OpPoll, memlog.OpOffsets:
		return memlog.Fault{}, ""
	case memlog.OpCommit:
		if s.rand.Float64() >= s.plan.commitFault {
			return memlog.Fault{}, ""
		}
		switch f.Outcome = pick(s.rand, memlog.Aborted, memlog.UnknownCommitted, memlog.UnknownAborted, memlog.Fenced, memlog.Committed); f.Outcome {
		case memlog.Fenced:
			g.process.fenced++
		case memlog.Committed:
			f.Err = errInjected
		}
		return f, fmt.Sprintf(" -> outcome %d %v", f.Outcome, f.Err)
	}
	if s.rand.Float64() < s.plan.adminError {
		return memlog.Fault{Err: errInjected}, " -> fails"
	}
	return memlog.Fault{}, ""
}

func (s *simulation) fetchFault(p *process, op memlog.Op) memlog.Fault {
	switch {
	case s.calm:
	case s.rand.Float64() < s.plan.fetchSkip:
		return memlog.Fault{Skip: true}
	case s.rand.Float64() < s.plan.fetchError:
		s.note("%s fetch of %s/%d fails", p.id, op.TP.Topic, op.TP.Partition)
		return memlog.Fault{Err: errInjected}
	}
	return memlog.Fault{}
}

func (s *simulation) sendFault(*process, memlog.Op) memlog.Fault {
	return memlog.Fault{Hold: s.rand.Float64() < s.plan.sendHold}
}

// act does something that is not a step of a process.
func (s *simulation) act() {
	sum := 0
	for _, w := range s.plan.weights {
		sum += w
	}
	n := s.rand.IntN(sum)
	for a, w := range s.plan.weights {
		if n -= w; n < 0 {
			s.do(action(a))
			return
		}
	}
}

func (s *simulation) do(a action) {
	switch a {
	case actStart:
		if sl := s.vacant(); sl != nil {
			s.startProcess(sl)
		}
	case actProduce:
		s.input.produce()
	case actForeign:
		s.foreignTransaction()
	case actCompact:
		s.compact()
	case actJump:
		d := time.Duration(1+s.rand.IntN(30)) * pick(s.rand, 10*time.Millisecond, 100*time.Millisecond, time.Second)
		s.note("time jumps by %v", d)
		s.advance(d)
	default:
		if len(s.processes) > 0 {
			s.doTo(a, s.processes[s.rand.IntN(len(s.processes))])
		}
	}
}

const lostMembership = "loses its membership"

// doTo does something to a process.
func (s *simulation) doTo(a action, p *process) {
	switch a {
	case actStop:
		s.note("%s is stopped", p.id)
		p.stop()
	case actKill:
		s.kill(p)
	case actKick:
		s.note("%s %s", p.id, lostMembership)
		p.kicked = true
		s.log.Kick(p.transport)
	case actPause:
		p.pausedUntil = s.steps + 10 + s.rand.IntN(150)
		s.note("%s stands still until step %d", p.id, p.pausedUntil)
	case actFull:
		full := !p.disk.full.Load()
		p.full = true
		s.note("%s has a full disk: %v", p.id, full)
		p.disk.full.Store(full)
	case actReplace:
		s.replace(p)
	case actSpeed:
		p.speed = 1 + s.rand.IntN(20)
	}
}

// vacant picks a slot without a process.
func (s *simulation) vacant() *slot {
	var free []*slot
	for _, sl := range s.slots {
		if sl.process == nil {
			free = append(free, sl)
		}
	}
	if len(free) == 0 {
		return nil
	}
	return free[s.rand.IntN(len(free))]
}

// foreignTransaction begins a transaction of somebody else on the input, writes
// in it, or ends it.
func (s *simulation) foreignTransaction() {
	if len(s.foreign) == 0 || s.rand.IntN(3) == 0 {
		s.foreign = append(s.foreign, s.log.Begin())
		s.note("a foreign transaction begins")
	}
	at := s.rand.IntN(len(s.foreign))
	switch tx := s.foreign[at]; s.rand.IntN(3) {
	case 0:
		s.input.within(tx)
	case 1:
		s.endForeign(at, true)
	case 2:
		s.endForeign(at, false)
	}
}

func (s *simulation) endForeign(at int, commit bool) {
	tx := s.foreign[at]
	s.foreign = append(s.foreign[:at:at], s.foreign[at+1:]...)
	s.note("a foreign transaction ends, committed: %v", commit)
	if commit {
		tx.Commit()
	} else {
		tx.Abort()
	}
}

// compact cleans a compacted topic. Without transactions the end of a changelog
// may hold rows that were not committed; a cleaner that removed the committed ones
// for them would take rows away, so, as in Kafka, where it leaves the newest segment
// alone, it does not come so soon. And where an edit that nobody has read yet
// pushes out an older one, a table that is built up to a point between them has
// neither: that lies in the nature of such a topic, so what feeds tables is
// cleaned only while all of it has been read.
func (s *simulation) compact() {
	for _, topic := range s.log.Topics() {
		changelog := strings.HasSuffix(topic, "changelog") && s.work.exactly
		if (changelog || topic == "p-profiles") && s.lagOf(topic) == "" && s.rand.IntN(2) == 0 {
			s.note("%s is compacted", topic)
			s.log.Compact(topic, false)
		}
	}
}

// heal ends all that is wrong, and begins a calm.
func (s *simulation) heal() {
	s.note("calm")
	s.calm = true
	for len(s.foreign) > 0 {
		s.endForeign(0, s.rand.IntN(2) == 0)
	}
	for _, p := range s.processes {
		p.pausedUntil, p.speed = 0, 1
		p.disk.full.Store(false)
	}
	for range s.slots {
		if sl := s.vacant(); sl != nil && s.rand.IntN(2) == 0 {
			s.startProcess(sl)
		}
	}
}
