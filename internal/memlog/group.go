package memlog

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// group is one consumer group. Tasks are dealt round robin over the members in
// order of joining, cooperatively: those that move are first taken away, and
// given to their new owner when every loser has acknowledged.
type group struct {
	name       string
	generation int32
	offsets    map[record.TopicPartition]int64
	by         map[record.TopicPartition]string // transactional ids that committed them
	pending    map[record.TopicPartition]int    // open transactions that carry an offset of it

	members []*member
	tasks   []engine.TaskInfo
	revoked bool // the first half of a rebalance is under way
	moved   bool // and took tasks away
	again   bool // membership changed during it
}

// member is one member of a group; the group's log.mu guards it.
type member struct {
	g        *group
	t        *Transport
	id       string
	instance string
	events   chan engine.GroupEvent
	owned    []engine.TaskID
	waiting  bool  // tasks were taken away and not acknowledged yet
	seen     int32 // generation that the member has last acknowledged
	dead     bool  // crashed; stays until its session ends
	closed   bool  // events is closed
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
		g: g, t: t, instance: t.cfg.Instance,
		id:     fmt.Sprintf("%s-%d", t.cfg.Name, l.members),
		events: make(chan engine.GroupEvent, eventBacklog),
	}
	t.members = append(t.members, m)
	if i := g.indexOfInstance(m.instance); i >= 0 {
		old := g.members[i]
		g.members[i] = m
		m.owned, m.seen = old.owned, g.generation
		old.lose()
		if !g.revoked {
			m.tell(m.owned, func() {})
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
func (m *member) Report([]engine.Held) {}

// Leave leaves; with keepPlace a static member stays known and keeps its tasks
// until its session ends.
func (m *member) Leave(ctx context.Context, keepPlace bool) error {
	f := m.t.log.fault(m.t, Op{Kind: OpLeave})
	m.t.log.hold(f, ctx.Done())
	m.t.log.mu.Lock()
	defer m.t.log.mu.Unlock()
	if err := firstError(f.Err, ctx.Err(), m.t.gone()); err != nil {
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
	m.waiting = false
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
// membership is lost, and its commits are refused from now on.
func (l *Log) Kick(t *Transport) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range t.members {
		if !m.closed && slices.Contains(m.g.members, m) {
			m.lose()
			l.remove(m)
		}
	}
}

// Generation of a group, 0 before the first member.
func (l *Log) Generation(groupName string) int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.group(groupName).generation
}

// rebalance deals the tasks. A change during a rebalance is dealt with after it.
func (g *group) rebalance() {
	if g.revoked {
		g.again = true
		g.settle()
		return
	}
	if len(g.members) == 0 {
		return
	}
	g.generation++
	target := g.deal()
	for _, m := range g.members {
		keep := intersect(m.owned, target[m])
		if len(keep) == len(m.owned) {
			continue
		}
		g.moved = true
		m.owned, m.waiting = keep, !m.dead
		m.tell(keep, func() {
			m.t.log.mu.Lock()
			defer m.t.log.mu.Unlock()
			m.waiting = false
			g.settle()
		})
	}
	g.revoked = true
	g.settle()
}

// settle gives out the tasks when nobody has any left to let go.
func (g *group) settle() {
	for _, m := range g.members {
		if m.waiting {
			return
		}
	}
	if !g.revoked {
		return
	}
	g.revoked = false
	if g.moved {
		g.moved = false
		g.generation++ // those who let go have joined anew
	}
	if g.again {
		g.again = false
		g.rebalance()
		return
	}
	target := g.deal()
	for _, m := range g.members {
		m.owned = target[m]
		m.tell(m.owned, func() {})
	}
}

// deal assigns every task to a member, round robin in order of name.
func (g *group) deal() map[*member][]engine.TaskID {
	target := make(map[*member][]engine.TaskID)
	for i, t := range g.tasks {
		m := g.members[i%len(g.members)]
		target[m] = append(target[m], t.ID)
	}
	return target
}

// tell sends an event; ack runs once, at the first call of Ack. A member that
// does not read its events loses its membership.
func (m *member) tell(tasks []engine.TaskID, ack func()) {
	if m.closed {
		return
	}
	generation, acked := m.g.generation, false
	ev := engine.GroupEvent{
		Meta:  engine.GroupMeta{Group: m.g.name, Generation: generation, Member: m.id, Instance: m.instance},
		Tasks: slices.Clone(tasks),
		Ack: func() {
			m.t.log.mu.Lock()
			first := !acked
			acked = true
			m.seen = max(m.seen, generation)
			m.t.log.mu.Unlock()
			if first {
				ack()
			}
		},
	}
	select {
	case m.events <- ev:
	default:
		m.dead, m.closed, m.waiting = true, true, false
		close(m.events)
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

// admits says whether offsets of this member and generation are accepted. Like
// the broker, it takes those of a live member until that has joined the next
// generation, so that what is taken away can still be committed.
func (g *group) admits(meta engine.GroupMeta) error {
	if meta.Member == "" {
		if len(g.members) > 0 {
			return fmt.Errorf("commit to group %s as nobody, it has members: %w", g.name, engine.ErrFenced)
		}
		return nil
	}
	for _, m := range g.members {
		if m.id == meta.Member {
			if meta.Generation >= m.seen && meta.Generation <= g.generation {
				return nil
			}
			return fmt.Errorf("commit to group %s: generation %d of member %s is over: %w", g.name, meta.Generation, m.id, engine.ErrFenced)
		}
	}
	return fmt.Errorf("commit to group %s: member %s is not in it: %w", g.name, meta.Member, engine.ErrFenced)
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

func intersect(a, b []engine.TaskID) []engine.TaskID {
	var out []engine.TaskID
	for _, x := range a {
		if slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}
