package memlog

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"streamctl/internal/assign"
	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// group is one consumer group. Its tasks are dealt by the same assignor as on
// Kafka, cooperatively: every generation tells every member what it has; who has
// to let go of something does so and acknowledges it, and when all have, the
// next generation gives it away. A member whose warm-up has caught up asks for
// the next generation by its Report.
type group struct {
	name       string
	generation int32
	offsets    map[record.TopicPartition]int64
	by         map[record.TopicPartition]string // transactional ids that committed them
	times      map[record.TopicPartition]int64  // stream times committed beside them
	promises   map[record.TopicPartition]string // likewise, of tasks upstream
	pending    map[record.TopicPartition]int    // open transactions that carry an offset of it

	members []*member
	tasks   []engine.TaskInfo
	again   bool // another generation is due when those that let go of something have done so
}

// member is one member of a group; the group's log.mu guards it.
type member struct {
	g          *group
	t          *Transport
	id         string
	instance   string // static name, "" = dynamic
	who        engine.Membership
	events     chan engine.GroupEvent
	owned      []engine.TaskID
	standbys   []engine.TaskID
	awaited    []engine.TaskID // standbys whose catching up lets the assignment change
	letting    []engine.TaskID // taken away, and not acknowledged yet
	told       []engine.Held   // what the last generation was made from
	generation int32           // of owned
	dead       bool            // crashed; stays until its session ends
	closed     bool            // events is closed
}

// eventBacklog is how many changes of ownership a member may leave unread
// before the group gives it up.
const eventBacklog = 64

var _ engine.Coordinator = (*member)(nil)

// Join makes this process a member; a static instance takes the place of its
// former self and of its tasks without a rebalance.
func (t *Transport) Join(ctx context.Context, who engine.Membership) (engine.Coordinator, error) {
	l := t.log
	f := l.fault(t, Op{Kind: OpJoin})
	l.hold(f, ctx.Done())
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := firstError(f.Err, ctx.Err(), t.gone()); err != nil {
		return nil, fmt.Errorf("join group %s: %w", t.cfg.Group, err)
	}
	g := l.group(t.cfg.Group)
	g.tasks = sortedTasks(who.Tasks)
	if l.cfg.SessionTimeout == 0 {
		g.dropDead()
	}
	l.members++
	m := &member{
		g: g, t: t, instance: t.cfg.Instance, who: who,
		id:     fmt.Sprintf("%s-%d", t.cfg.Name, l.members),
		events: make(chan engine.GroupEvent, eventBacklog),
	}
	t.members = append(t.members, m)
	if i := g.indexOfInstance(m.instance); i >= 0 {
		old := g.members[i]
		g.members[i] = m
		m.owned, m.standbys, m.awaited, m.generation = old.owned, old.standbys, old.awaited, old.generation
		old.lose()
		if len(old.letting) == 0 {
			m.tell()
			return m, nil
		}
	} else {
		g.members = append(g.members, m)
	}
	g.rebalance()
	return m, nil
}

func (m *member) Events() <-chan engine.GroupEvent { return m.events }

// Report implements engine.Coordinator.
func (m *member) Report(held []engine.Held) {
	l := m.t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	m.who.Held = slices.Clone(held)
	if m.closed || !slices.Contains(m.g.members, m) {
		return
	}
	for _, task := range m.awaited {
		if m.caughtUp(held, task) && !m.caughtUp(m.told, task) {
			m.g.rebalance()
			return
		}
	}
}

// caughtUp says whether a copy is near enough to run.
func (m *member) caughtUp(held []engine.Held, task engine.TaskID) bool {
	return slices.ContainsFunc(held, func(h engine.Held) bool {
		return h.Task == task && h.Lag >= 0 && h.Lag <= m.who.AcceptableLag
	})
}

// Leave leaves; with keepPlace a static member stays known and keeps its tasks
// until its session ends. So does one that could not say that it leaves.
func (m *member) Leave(ctx context.Context, keepPlace bool) error {
	f := m.t.log.fault(m.t, Op{Kind: OpLeave})
	m.t.log.hold(f, ctx.Done())
	m.t.log.mu.Lock()
	defer m.t.log.mu.Unlock()
	if err := firstError(f.Err, ctx.Err(), m.t.gone()); err != nil {
		m.t.log.memberDied(m) // it has gone all the same, and its heartbeats with it
		return fmt.Errorf("leave group %s: %w", m.g.name, err)
	}
	m.t.log.leave(m, keepPlace)
	return nil
}

// leave takes m out of its group, or leaves a static member's place open.
func (l *Log) leave(m *member, keepPlace bool) {
	if m.closed {
		return
	}
	m.closed = true
	close(m.events)
	if keepPlace && m.instance != "" && l.cfg.SessionTimeout > 0 {
		m.dead = true
		l.expireLater(m)
		return
	}
	l.remove(m)
}

// memberDied is for a process that crashed.
func (l *Log) memberDied(m *member) {
	if m.closed {
		return
	}
	m.dead, m.closed = true, true
	close(m.events)
	if l.cfg.SessionTimeout > 0 {
		l.expireLater(m)
	}
}

func (l *Log) expireLater(m *member) {
	l.clock.AfterFunc(l.cfg.SessionTimeout, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.remove(m)
	})
}

// remove takes m out and deals its tasks anew.
func (l *Log) remove(m *member) {
	i := slices.Index(m.g.members, m)
	if i < 0 {
		return
	}
	m.g.members = slices.Delete(m.g.members, i, i+1)
	m.letting = nil
	m.g.rebalance()
}

// ExpireMembers ends the sessions of a group's crashed members at once.
func (l *Log) ExpireMembers(groupName string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.group(groupName)
	if g.dropDead() {
		g.rebalance()
	}
}

// Kick ends the session of every live member of a process, as a coordinator
// does that has heard no heartbeat for too long: the member learns that its
// membership is lost, and its commits are refused from now on. When it has taken
// that in it joins anew.
func (l *Log) Kick(t *Transport) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range t.members {
		if !m.closed && slices.Contains(m.g.members, m) {
			m.expel()
		}
	}
}

// expel takes m out of the group and tells it so.
func (m *member) expel() {
	l := m.t.log
	l.remove(m)
	m.owned, m.standbys, m.awaited = nil, nil, nil
	rejoined := false
	m.send(engine.GroupEvent{Lost: true, Ack: func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if rejoined || m.closed || m.t.gone() != nil {
			return
		}
		rejoined = true
		l.members++
		m.id = fmt.Sprintf("%s-%d", m.t.cfg.Name, l.members)
		m.g.members = append(m.g.members, m)
		m.g.rebalance()
	}})
}

// Generation of a group, 0 before the first member.
func (l *Log) Generation(groupName string) int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.group(groupName).generation
}

// rebalance makes the next generation; while somebody has still to let go of
// something it is put off until that is done.
func (g *group) rebalance() {
	g.again = true
	for g.again && !slices.ContainsFunc(g.members, func(m *member) bool { return len(m.letting) > 0 }) {
		g.again = false
		if len(g.members) == 0 {
			return
		}
		g.generation++
		g.deal()
	}
}

// deal assigns the tasks and tells everybody. What a dead member has stays its
// own until its session ends.
func (g *group) deal() {
	members := make([]assign.Member, len(g.members))
	for i, m := range g.members {
		name := m.who.Instance
		if name == "" {
			name = m.id
		}
		members[i] = assign.Member{
			Name: name, ID: m.id, Rack: m.who.Rack, Workers: m.who.Workers,
			Active: m.owned, Standby: m.standbys, Generation: m.generation, Held: m.who.Held,
		}
	}
	who := g.members[0].who
	result := assign.Assign(g.tasks, members, assign.Settings{Standbys: who.Standbys, AcceptableLag: who.AcceptableLag})
	for _, m := range slices.Clone(g.members) {
		given := result.Active[m.id]
		m.letting = without(m.owned, given)
		if m.dead { // it lets go of nothing, and nobody waits for it
			given, m.letting = append(given, m.letting...), nil
		}
		m.owned, m.standbys, m.awaited, m.generation = given, result.Standby[m.id], result.Awaited[m.id], g.generation
		m.told = m.who.Held
		g.again = g.again || len(m.letting) > 0
		m.tell()
	}
}

// tell says what m has; what it had to let go of is let go of at the first call
// of Ack. A member that does not read its events loses its membership.
func (m *member) tell() {
	if m.closed {
		return
	}
	generation := m.g.generation
	ev := engine.GroupEvent{
		Meta:  engine.GroupMeta{Group: m.g.name, Generation: generation, Member: m.id, Instance: m.instance},
		Tasks: slices.Clone(m.owned), Standbys: slices.Clone(m.standbys),
		Ack: func() {
			l := m.t.log
			l.mu.Lock()
			defer l.mu.Unlock()
			if m.generation == generation && len(m.letting) > 0 && !m.dead && !m.closed {
				m.letting = nil
				m.g.rebalance()
			}
		},
	}
	for _, other := range m.g.members {
		ev.Members = append(ev.Members, engine.Member{Instance: other.who.Instance, Workers: other.who.Workers})
	}
	m.send(ev)
}

// send gives m an event. A member that does not take its events is as good as dead.
func (m *member) send(ev engine.GroupEvent) {
	select {
	case m.events <- ev:
	default:
		m.dead, m.closed = true, true
		close(m.events)
		m.t.log.expireLater(m)
	}
}

// lose tells m that its membership is gone and closes its events.
func (m *member) lose() {
	if m.closed {
		return
	}
	m.closed = true
	select {
	case m.events <- engine.GroupEvent{Lost: true, Ack: func() {}}:
	default:
	}
	close(m.events)
}

// admits says whether offsets of this member are accepted. The number of the
// generation does not matter while it is a member: a commit that a rebalance
// has overtaken is repeated by the transport under the new one, since what a
// member has not let go of is its own.
func (g *group) admits(meta engine.GroupMeta) error {
	if meta.Member == "" {
		if len(g.members) > 0 {
			return fmt.Errorf("commit to group %s as nobody, it has members: %w", g.name, engine.ErrExpelled)
		}
		return nil
	}
	for _, m := range g.members {
		if m.id == meta.Member && meta.Generation <= g.generation {
			return nil
		}
	}
	return fmt.Errorf("commit to group %s: member %s is not in it: %w", g.name, meta.Member, engine.ErrExpelled)
}

func (g *group) indexOfInstance(instance string) int {
	return slices.IndexFunc(g.members, func(m *member) bool { return instance != "" && m.instance == instance })
}

func (g *group) dropDead() bool {
	n := len(g.members)
	g.members = slices.DeleteFunc(g.members, func(m *member) bool { return m.dead && m.instance == "" })
	return len(g.members) != n
}

func sortedTasks(tasks []engine.TaskInfo) []engine.TaskInfo {
	out := slices.Clone(tasks)
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i].ID, out[j].ID
		return a.Sub < b.Sub || a.Sub == b.Sub && a.Partition < b.Partition
	})
	return out
}

// without lists what of a is not in b.
func without(a, b []engine.TaskID) []engine.TaskID {
	var out []engine.TaskID
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}
