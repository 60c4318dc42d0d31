package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"streamctl/internal/engine"
)

// group implements engine.Coordinator: the membership of this process in its
// group. One goroutine lives through
//
//	joining ──JoinGroup, SyncGroup──> member ──rebalance, tasks given up──> joining
//	   ▲                                │
//	   └───────── lost <──unknown, fenced, silent for a session──┘
//
// and tells the engine what it owns and what it keeps copies of. Tasks that are
// taken away are given to others only after the engine has acknowledged, by
// joining anew without them; the others run on meanwhile. report.go says when a
// member asks for a rebalance by itself.
//
// A static member (Settings.Instance) that ended or was killed comes back under
// its name at once, without waiting for its session to end. The broker then
// gives it the assignment of its former life, and the others hear nothing of
// it. Leave says goodbye explicitly where keepPlace is not asked for, also for a
// static member: the group is then empty, and its offsets can be reset.
//
// No heartbeats are sent while JoinGroup or SyncGroup waits: the broker counts
// them as alive who wait for its answer.
type group struct {
	c     *cluster
	name  string
	who   engine.Membership
	work  work
	host  string
	links *links // a link of its own: JoinGroup waits for the other members

	ctx     context.Context //nolint:containedctx // the life of the goroutine
	stop    context.CancelFunc
	running sync.WaitGroup
	events  chan engine.GroupEvent
	acked   chan int      // numbers of events that were acknowledged
	poked   chan struct{} // Report has said something

	mu      sync.Mutex
	meta    engine.GroupMeta // as of the last SyncGroup; no Member while lost
	joining bool             // the generation may have moved on already
	held    []engine.Held    // what Report said last

	// Owned by the goroutine.
	id      string              // member id, as soon as the broker has given one
	given   assignmentData      // as of the last SyncGroup
	queue   []engine.GroupEvent // not taken by the engine yet
	count   int                 // events made so far
	await   int                 // number of the event whose acknowledgement calls for a rejoin; 0 = none
	closing int                 // number of the event that told of a loss and is not acknowledged; 0 = none
	alive   time.Time           // last heartbeat that was answered
	address string              // of the coordinator
	found   string              // of the coordinator, when it was last looked for
	asked   probe               // when it asks for a rebalance by itself
}

var _ engine.Coordinator = (*group)(nil)

func newGroup(c *cluster, who engine.Membership) *group {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	g := &group{
		c: c, name: c.set.Group, who: who, work: work{Tasks: tasksHash(who.Tasks), Plan: who.Plan}, host: host, held: slices.Clone(who.Held),
		links:  newLinks(c.dialer, joinPatience(c.set)),
		events: make(chan engine.GroupEvent), acked: make(chan int, 16), poked: make(chan struct{}, 1),
	}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.meta = engine.GroupMeta{Group: g.name, Instance: c.set.Instance}
	return g
}

// joinMargin is how much longer than the group waits for its members a member
// waits for the answer, as other clients of Kafka do.
const joinMargin = 5 * time.Second

// joinPatience is how long an answer to JoinGroup or SyncGroup is waited for: the
// broker answers when all members have come, or after the rebalance time-out.
func joinPatience(set Settings) time.Duration {
	return max(set.RebalanceTimeout+joinMargin, set.RequestTimeout)
}

// Events implements engine.Coordinator.
func (g *group) Events() <-chan engine.GroupEvent { return g.events }

// latest gives the membership that meta belongs to as it is now. settled is
// false while a new generation is being made.
func (g *group) latest(meta engine.GroupMeta) (engine.GroupMeta, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.meta.Member == "" || g.meta.Member != meta.Member {
		return meta, true
	}
	return g.meta, !g.joining
}

// run is the membership's life. A membership that stands is only followed again
// after a failure: who joins says that he has closed what he was to let go of,
// and may move the whole group to form anew.
func (g *group) run() {
	defer close(g.events)
	var wait backoff
	var failed time.Time
	for join := true; g.ctx.Err() == nil; {
		for g.closing != 0 && g.serve(nil) { // what was lost must be closed before anything is given
		}
		var err error
		if join {
			err = g.join()
		}
		if join = err != nil; !join {
			err = g.follow()
		}
		if g.ctx.Err() != nil {
			return
		}
		if fatal := g.recover(err); fatal != nil {
			g.tell(engine.GroupEvent{Err: fatal})
			for g.ctx.Err() == nil {
				g.idle(time.Hour)
			}
			return
		}
		if g.alive.After(failed) {
			wait.reset()
		}
		failed = time.Now()
		if !errors.Is(err, errRejoin) {
			if wait.attempt == 5 {
				g.c.log.Warn("the group's coordinator cannot be talked to", "group", g.name, "cause", err)
			}
			g.idle(wait.next())
		}
		g.checkSession()
		join = join || errors.Is(err, errRejoin) || g.member().Member == ""
	}
}

// errRejoin ends follow when the group forms anew.
var errRejoin = errors.New("the group rebalances")

// errFencedInstance ends the membership: two processes have one name.
var errFencedInstance = errors.New("another process has joined the group under the same instance name; give each its own with --instance")

// recover returns nil where joining again makes sense after err, and else why
// it does not. It loses the membership where the broker does not know it any more.
func (g *group) recover(err error) error {
	switch {
	case errors.Is(err, errRejoin):
	case errors.Is(err, sarama.ErrFencedInstancedId):
		g.lose(errFencedInstance)
		return fmt.Errorf("group %s, instance %s: %w: %w", g.name, g.c.set.Instance, errFencedInstance, err)
	case errors.Is(err, sarama.ErrUnknownMemberId), errors.Is(err, sarama.ErrIllegalGeneration), errors.Is(err, errSlow):
		g.lose(fmt.Errorf("%s: %w", g.suspicion(), err))
	case errors.Is(err, sarama.ErrRebalanceInProgress), retriable(err):
		g.address = ""
	case errors.Is(err, sarama.ErrInvalidSessionTimeout):
		return fmt.Errorf("%w: kafka.session_timeout is %v; the broker allows what lies between its group.min.session.timeout.ms and group.max.session.timeout.ms",
			err, g.c.set.SessionTimeout)
	default:
		return err
	}
	return nil
}

// suspicion says why the group has gone on without this member, as far as that
// can be told from here.
func (g *group) suspicion() string {
	if g.await > 0 {
		return fmt.Sprintf("tasks that were to be handed over were not closed within kafka.rebalance_timeout (%v)", g.c.set.RebalanceTimeout)
	}
	return fmt.Sprintf("the group went on without this process; it hears nothing from a process for kafka.session_timeout (%v) when that stands still or the network does",
		g.c.set.SessionTimeout)
}

// lose tells the engine that its tasks are not its own any more.
func (g *group) lose(cause error) {
	g.mu.Lock()
	was := g.meta
	g.meta.Member, g.meta.Generation = "", 0
	g.mu.Unlock()
	g.id = ""
	if was.Member == "" {
		return
	}
	g.c.log.Warn("membership lost", "group", g.name, "cause", cause)
	g.c.incidents.Add(engine.IncidentMembershipLost)
	g.given, g.await = assignmentData{}, 0
	g.queue = nil // what was not taken is out of date
	g.count++
	g.closing = g.count
	g.tell(engine.GroupEvent{Meta: was, Lost: true, Ack: g.acknowledgement(g.count)})
}

// acknowledgement makes the Ack of an event.
func (g *group) acknowledgement(n int) func() {
	var once sync.Once
	return func() {
		once.Do(func() {
			select {
			case g.acked <- n:
			case <-g.ctx.Done():
			}
		})
	}
}

// checkSession loses the membership when the broker must have given it up.
func (g *group) checkSession() {
	if !g.alive.IsZero() && time.Since(g.alive) > g.c.set.SessionTimeout {
		g.lose(fmt.Errorf("no contact to the group's coordinator for kafka.session_timeout (%v)", g.c.set.SessionTimeout))
	}
}

// tell queues an event for the engine.
func (g *group) tell(event engine.GroupEvent) { g.queue = append(g.queue, event) }

// idle passes time while serving the engine.
func (g *group) idle(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for g.serve(timer.C) {
	}
}

// serve waits for one thing: the engine takes an event, acknowledges one, or
// reports, or the tick comes, or the end. It returns true for the first three.
func (g *group) serve(tick <-chan time.Time) bool {
	var out chan engine.GroupEvent
	var first engine.GroupEvent
	if len(g.queue) > 0 {
		out, first = g.events, g.queue[0]
	}
	select {
	case <-g.ctx.Done():
		return false
	case <-tick:
		return false
	case out <- first:
		g.queue = g.queue[1:]
		return true
	case <-g.poked:
		return true
	case n := <-g.acked:
		switch n {
		case g.await:
			g.await = -1 // follow rejoins
		case g.closing:
			g.closing = 0
		}
		return true
	}
}

// heartbeatEvery is how soon a member hears that the group forms anew: until
// all have heard it, tasks that move and those of a member that died run nowhere.
const heartbeatEvery = 500 * time.Millisecond

// follow sends heartbeats until the group forms anew or something fails.
func (g *group) follow() error {
	ticker := time.NewTicker(min(g.c.set.SessionTimeout/3, heartbeatEvery))
	defer ticker.Stop()
	for {
		for !g.mustJoin() && g.serve(ticker.C) {
		}
		if err := g.ctx.Err(); err != nil {
			return err
		}
		if g.mustJoin() {
			g.asked.count++
			return errRejoin
		}
		if g.await > 0 && time.Since(g.asked.at) > g.c.set.RebalanceTimeout {
			return g.giveWay()
		}
		if err := g.heartbeat(); err != nil {
			return err
		}
	}
}

// mustJoin says whether this member moves the group to form anew.
func (g *group) mustJoin() bool { return g.await < 0 || g.wantsRebalance() }

// errSlow ends a membership that holds up the group.
var errSlow = errors.New("the group does not wait any longer")

// giveWay leaves the group because tasks that were taken away are still not
// closed: it goes on without this process, which is a zombie as far as they are
// concerned. Nobody else would end its membership, for its heartbeats go on.
func (g *group) giveWay() error {
	l, err := g.link(g.ctx)
	if err == nil {
		ctx, cancel := context.WithTimeout(g.ctx, g.c.set.SessionTimeout)
		defer cancel()
		err = g.sayGoodbye(ctx, l, g.member())
	}
	if err != nil {
		return err // and once more
	}
	return errSlow
}

func (g *group) heartbeat() error {
	meta := g.member()
	l, err := g.link(g.ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(g.ctx, g.c.set.SessionTimeout)
	defer cancel()
	resp, err := call(ctx, l, (*sarama.Broker).Heartbeat, &sarama.HeartbeatRequest{
		Version: 4, GroupId: g.name, GenerationId: meta.Generation, MemberId: meta.Member, GroupInstanceId: instanceOf(meta),
	})
	if err != nil {
		return err
	}
	switch resp.Err {
	case sarama.ErrNoError:
		g.alive = time.Now()
		return nil
	case sarama.ErrRebalanceInProgress:
		g.alive = time.Now()
		if g.await > 0 {
			return nil // what was taken away is not given up yet: the others wait for us
		}
		return errRejoin
	}
	return fmt.Errorf("heartbeat to group %s: %w", g.name, resp.Err)
}

func (g *group) member() engine.GroupMeta {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.meta
}

// link is the connection to the group's coordinator.
func (g *group) link(ctx context.Context) (*link, error) {
	if g.address == "" {
		addr, err := g.c.coordinator(ctx, sarama.CoordinatorGroup, g.name)
		if err != nil {
			return nil, err
		}
		if g.found != "" && g.found != addr {
			g.c.log.Info("the group has another coordinator", "group", g.name, "broker", addr)
			g.c.incidents.Add(engine.IncidentCoordinatorMoved)
		}
		g.address, g.found = addr, addr
	}
	return g.links.get(ctx, g.address)
}

// join makes this process a member of the next generation. The requests run
// beside, because the engine is served meanwhile.
func (g *group) join() error {
	g.mu.Lock()
	g.joining = true
	meta := g.meta
	g.mu.Unlock()
	meta.Member = g.id
	g.await = 0
	self := g.describe()
	var data assignmentData
	var err error
	ended := make(chan time.Time)
	go func() {
		defer close(ended)
		data, err = g.joinAndSync(&meta, self)
	}()
	for g.serve(ended) {
	}
	<-ended // the end of the context ends the requests too
	g.id = meta.Member
	g.mu.Lock()
	was := g.meta
	g.joining = false
	if err == nil {
		g.meta = meta
	}
	g.mu.Unlock()
	if err != nil {
		return err
	}
	g.alive = time.Now()
	if was.Member != "" && was.Generation != meta.Generation {
		g.c.incidents.Add(engine.IncidentRebalance)
	}
	return g.assigned(meta, self, data)
}

// describe is what this member says of itself.
func (g *group) describe() memberData {
	name := g.c.set.Instance
	if name == "" {
		name = cmp.Or(g.who.Instance, g.host)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return memberData{
		Work: g.work, Name: name, Host: g.host, Rack: g.who.Rack,
		Self:     engine.Member{Instance: g.who.Instance, Workers: g.who.Workers},
		Standbys: g.who.Standbys, Acceptable: g.who.AcceptableLag, Probe: g.asked.count,
		Generation: g.meta.Generation, Owned: g.given.Owned, Standby: g.given.Standby, Held: g.held,
	}
}

// assigned tells the engine what it owns now.
func (g *group) assigned(meta engine.GroupMeta, self memberData, data assignmentData) error {
	if data.Refused != "" {
		return fmt.Errorf("join group %s: %w: the group refuses this process: %s", g.name, engine.ErrOtherPlan, data.Refused)
	}
	removed := losesAny(self.Owned, data.Owned)
	g.given = data
	g.count++
	n := g.count
	event := engine.GroupEvent{
		Meta: meta, Tasks: slices.Clone(data.Owned), Standbys: slices.Clone(data.Standby), Members: slices.Clone(data.Members), Ack: func() {},
	}
	g.asked.joined(time.Now(), self, data, removed)
	if removed {
		g.await = n
		event.Ack = g.acknowledgement(n)
	}
	g.tell(event)
	return nil
}

// Leave implements engine.Coordinator. Without keepPlace the member leaves the
// group also where it is static, so that the group is seen to be empty.
func (g *group) Leave(ctx context.Context, keepPlace bool) error {
	g.stop()
	g.running.Wait()
	meta := g.member()
	meta.Member = g.id // the broker may have named it before it was told anything
	defer g.links.close()
	if meta.Member == "" || keepPlace && meta.Instance != "" {
		return nil
	}
	l, err := g.link(ctx)
	if err == nil {
		err = g.sayGoodbye(ctx, l, meta)
	}
	if err != nil {
		return fmt.Errorf("leave group %s: %w", g.name, err)
	}
	g.mu.Lock()
	g.meta.Member = ""
	g.mu.Unlock()
	return nil
}
