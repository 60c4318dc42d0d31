package kafka

import (
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
// and tells the engine what it owns. Tasks that are taken away are given to
// others only after the engine has acknowledged, by joining anew without them;
// the others run on meanwhile.
//
// A static member (Settings.Instance) that was killed comes back under its
// name at once, without waiting for its session to end. Leave says goodbye
// explicitly, also for a static member: the group is then empty, and its
// offsets can be reset.
type group struct {
	c     *cluster
	name  string
	tasks []engine.TaskInfo
	hash  string
	host  string
	links *links // a link of its own: JoinGroup waits for the other members

	ctx     context.Context //nolint:containedctx // the life of the goroutine
	stop    context.CancelFunc
	running sync.WaitGroup
	events  chan engine.GroupEvent
	acked   chan int // numbers of events that were acknowledged

	mu      sync.Mutex
	meta    engine.GroupMeta // as of the last SyncGroup; no Member while lost
	joining bool             // the generation may have moved on already

	// Owned by the goroutine.
	id      string // member id, as soon as the broker has given one
	owned   []engine.TaskID
	queue   []engine.GroupEvent // not taken by the engine yet
	count   int                 // events made so far
	await   int                 // number of the event whose acknowledgement calls for a rejoin; 0 = none
	alive   time.Time           // last heartbeat that was answered
	address string              // of the coordinator
}

var _ engine.Coordinator = (*group)(nil)

func newGroup(c *cluster, tasks []engine.TaskInfo) *group {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	g := &group{
		c: c, name: c.set.Group, tasks: slices.Clone(tasks), hash: tasksHash(tasks), host: host,
		links:  newLinks(c.dialer, c.set.RebalanceTimeout+c.set.RequestTimeout),
		events: make(chan engine.GroupEvent), acked: make(chan int, 16),
	}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.meta = engine.GroupMeta{Group: g.name, Instance: c.set.Instance}
	return g
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

// run is the membership's life.
func (g *group) run() {
	defer close(g.events)
	var wait backoff
	for g.ctx.Err() == nil {
		err := g.join()
		if err == nil {
			wait.reset()
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
		if !errors.Is(err, errRejoin) {
			if wait.attempt == 5 {
				g.c.log.Warn("joining the group fails", "group", g.name, "cause", err)
			}
			g.idle(wait.next())
		}
		g.checkSession()
	}
}

// errRejoin ends follow when the group forms anew.
var errRejoin = errors.New("the group rebalances")

// errFencedInstance ends the membership: two processes have one name.
var errFencedInstance = errors.New("another process has joined the group under the same instance name")

// recover returns nil where joining again makes sense after err, and else why
// it does not. It loses the membership where the broker does not know it any more.
func (g *group) recover(err error) error {
	switch {
	case errors.Is(err, errRejoin):
	case errors.Is(err, sarama.ErrFencedInstancedId):
		g.lose(errFencedInstance)
		return fmt.Errorf("group %s, instance %s: %w: %w", g.name, g.c.set.Instance, errFencedInstance, err)
	case errors.Is(err, sarama.ErrUnknownMemberId), errors.Is(err, sarama.ErrIllegalGeneration):
		g.lose(err)
	case errors.Is(err, sarama.ErrRebalanceInProgress), retriable(err):
		g.address = ""
	default:
		return err
	}
	return nil
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
	g.owned, g.await = nil, 0
	g.queue = nil // what was not taken is out of date
	g.tell(engine.GroupEvent{Meta: was, Lost: true, Ack: func() {}})
}

// checkSession loses the membership when the broker must have given it up.
func (g *group) checkSession() {
	if !g.alive.IsZero() && time.Since(g.alive) > g.c.set.SessionTimeout {
		g.lose(errors.New("no contact to the coordinator for a session timeout"))
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
// the tick comes, or the end. It returns true for the first two.
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
	case n := <-g.acked:
		if n == g.await {
			g.await = -1 // follow rejoins
		}
		return true
	}
}

// follow sends heartbeats until the group forms anew or something fails.
func (g *group) follow() error {
	ticker := time.NewTicker(min(g.c.set.SessionTimeout/3, 3*time.Second))
	defer ticker.Stop()
	for {
		for g.serve(ticker.C) {
			if g.await < 0 {
				g.await = 0
				return errRejoin
			}
		}
		if err := g.ctx.Err(); err != nil {
			return err
		}
		if err := g.heartbeat(); err != nil {
			return err
		}
	}
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
		g.address = addr
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
	var data assignmentData
	var err error
	owned := slices.Clone(g.owned)
	ended := make(chan time.Time)
	go func() {
		defer close(ended)
		data, err = g.joinAndSync(&meta, owned)
	}()
	for g.serve(ended) {
	}
	<-ended // the end of the context ends the requests too
	g.id = meta.Member
	g.mu.Lock()
	g.joining = false
	if err == nil {
		g.meta = meta
	}
	g.mu.Unlock()
	if err != nil {
		return err
	}
	g.alive = time.Now()
	return g.assigned(meta, data)
}

// assigned tells the engine what it owns now.
func (g *group) assigned(meta engine.GroupMeta, data assignmentData) error {
	if data.Refused != "" {
		return fmt.Errorf("join group %s: %w: the group refuses this process: %s", g.name, engine.ErrOtherPlan, data.Refused)
	}
	removed := slices.ContainsFunc(g.owned, func(id engine.TaskID) bool { return !slices.Contains(data.Owned, id) })
	g.owned = data.Owned
	g.count++
	n := g.count
	event := engine.GroupEvent{Meta: meta, Tasks: slices.Clone(data.Owned), Ack: func() {}}
	if removed {
		g.await = n
		var once sync.Once
		event.Ack = func() {
			once.Do(func() {
				select {
				case g.acked <- n:
				case <-g.ctx.Done():
				}
			})
		}
	}
	g.tell(event)
	return nil
}

// Report implements engine.Coordinator.
func (g *group) Report([]engine.Held) {}

// Leave implements engine.Coordinator. Without keepPlace the member leaves the
// group also where it is static, so that the group is seen to be empty.
func (g *group) Leave(ctx context.Context, keepPlace bool) error {
	g.stop()
	g.running.Wait()
	meta := g.member()
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
