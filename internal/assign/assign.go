// Package assign deals the tasks of a pipeline over the members of its group.
// It is a pure function: it knows tasks, members and what each of them holds of
// whose state, and nothing of brokers, clocks or of how members are told.
// docs/assignment.md is its specification.
package assign

import (
	"cmp"
	"slices"

	"streamctl/internal/engine"
)

// Member is one process of the group, as it described itself when it joined.
type Member struct {
	Name    string // stable across restarts where possible; decides ties
	ID      string // the member id, unique in the group
	Rack    string // failure domain, "" = not known
	Workers int    // its capacity; 0 = not known, it counts as the median of those that say it
	// Active is what it runs and has not let go of, Standby of what it keeps a copy.
	Active, Standby []engine.TaskID
	// Generation of the group in which it was given Active. Where two members claim a
	// task, the one with the later generation is believed.
	Generation int32
	Held       []engine.Held
}

// Settings of an assignment; the same for the whole group.
type Settings struct {
	Standbys      int   // replicas of every task with state beside the one that runs
	AcceptableLag int64 // records: who lags no more takes a task over without a warm-up
	MaxWarmups    int   // warm-ups at once in the group; 0 = two per member
	// WithoutWarmups is for a group with members that cannot keep copies: every
	// task moves at once, and nobody has standbys.
	WithoutWarmups bool
}

// Result is what every member is told, by member id. All lists are sorted.
type Result struct {
	// Active are the tasks that run there from now on. A task that another member
	// still has to let go of is in nobody's list; the next round gives it away.
	Active map[string][]engine.TaskID
	// Standby are the tasks of which a copy is kept there: replicas, and warm-ups
	// of tasks that are to move there.
	Standby map[string][]engine.TaskID
	// Awaited are those of Standby whose catching up lets the assignment change.
	Awaited map[string][]engine.TaskID
	// Settled: nothing is on its way. Another round would change nothing.
	Settled bool
	// Moves says what is on its way and what was given anew, in the order of the tasks.
	Moves []Move
}

// Step says how far the move of a task is.
type Step uint8

// The steps of a move.
const (
	StepWaiting    Step = iota // more warm-ups are wanted than run at once
	StepWarming                // To catches up; From runs it meanwhile
	StepReleasing              // From lets go; To gets it in the next round
	StepTaken                  // nobody ran it; To goes on with it
	StepRestoring              // nobody ran it, nobody has caught up: To restores it first
	StepReplicated             // another member catches up as a replica; the one it replaces is kept meanwhile
)

func (s Step) String() string {
	return [...]string{"waiting", "warming", "releasing", "taken", "restoring", "replicated"}[s]
}

// Move is one task on its way, by names of members.
type Move struct {
	Task     engine.TaskID
	From, To string // From is "" where nobody ran it
	Step     Step
}

// Assign deals tasks over members. It is deterministic, whatever the order of
// its arguments; called again with members that do as they were told and whose
// warm-ups catch up, it comes to a result that is Settled and stays.
func Assign(tasks []engine.TaskInfo, members []Member, s Settings) Result {
	var stay []engine.TaskID
	for {
		p := assign(tasks, members, s, stay)
		back := p.comingBack(tasks, s)
		if len(back) == 0 {
			return p.result()
		}
		stay = append(stay, back...)
	}
}

// assign is one try: the tasks in stay are not let go of.
func assign(tasks []engine.TaskInfo, members []Member, s Settings, stay []engine.TaskID) *plan {
	p := newPlan(tasks, members, s)
	p.stay = stay
	if len(p.members) > 0 {
		p.place()
		p.balance()
		p.order()
		p.replicate()
	}
	return p
}

// comingBack lists the tasks that are let go of now although the next round, in
// which nobody runs them, would give them back to whom they come from. While a
// warm-up keeps the balance from being reached, that would go on round after
// round; they stay where they are until there is something to be gained.
func (p *plan) comingBack(tasks []engine.TaskInfo, s Settings) []engine.TaskID {
	if len(p.releasing) == 0 {
		return nil
	}
	r := p.result()
	next := slices.Clone(p.members)
	for i := range next {
		next[i].Active, next[i].Standby = r.Active[next[i].ID], r.Standby[next[i].ID]
	}
	then := assign(tasks, next, s, nil)
	var back []engine.TaskID
	for _, t := range p.releasing {
		if then.now[t] == p.owner[t] {
			back = append(back, p.tasks[t].ID)
		}
	}
	return back
}

// CompareTasks is the order of tasks.
func CompareTasks(a, b engine.TaskID) int {
	return cmp.Or(cmp.Compare(a.Sub, b.Sub), cmp.Compare(a.Partition, b.Partition))
}

// nobody stands for a member that is not there.
const nobody = -1

// plan is one assignment in the making. Tasks and members are numbers in it:
// their places in the sorted lists.
type plan struct {
	s       Settings
	tasks   []engine.TaskInfo
	members []Member

	weight   []weight // by task
	capacity []int64  // by member
	copies   [][]copyOf
	owner    []int  // who runs a task and has not let go
	fresh    []bool // nobody runs it, and nobody has any of its state

	base   []int // where a task runs as long as its target cannot
	target []int // where it is to run in the end
	active pile  // what the targets add up to

	now     []int   // who runs it from now on; nobody while it is let go
	warm    []int   // who warms up for it
	keepers [][]int // who keeps a copy
	awaited [][]int // who of them is waited for
	spare   pile    // what the replicas add up to
	moves   []Move
	settled bool

	stay      []engine.TaskID // not to be let go of
	releasing []int           // tasks that are let go of
}

// copyOf is what one member holds of a task's state.
type copyOf struct {
	member     int
	lag, bytes int64
	follows    bool // it is a standby already
}

func newPlan(tasks []engine.TaskInfo, members []Member, s Settings) *plan {
	p := &plan{s: s, tasks: slices.Clone(tasks), members: slices.Clone(members), settled: true}
	slices.SortFunc(p.tasks, func(a, b engine.TaskInfo) int { return CompareTasks(a.ID, b.ID) })
	p.tasks = slices.CompactFunc(p.tasks, func(a, b engine.TaskInfo) bool { return a.ID == b.ID })
	slices.SortFunc(p.members, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	if p.s.MaxWarmups <= 0 {
		p.s.MaxWarmups = 2 * len(members)
	}
	if p.s.WithoutWarmups {
		p.s.Standbys = 0
	}
	n := len(p.tasks)
	p.copies, p.fresh = make([][]copyOf, n), make([]bool, n)
	p.owner, p.base, p.target, p.now, p.warm = nobodies(n), nobodies(n), nobodies(n), nobodies(n), nobodies(n)
	p.keepers, p.awaited = make([][]int, n), make([][]int, n)
	p.readMembers()
	p.weigh()
	p.active, p.spare = newPile(p), newPile(p)
	return p
}

func nobodies(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = nobody
	}
	return out
}

// readMembers finds out who runs what and who holds what.
func (p *plan) readMembers() {
	number := make(map[engine.TaskID]int, len(p.tasks))
	for t := range p.tasks {
		number[p.tasks[t].ID] = t
	}
	for m := range p.members {
		for _, id := range p.members[m].Active {
			if t, known := number[id]; known && (p.owner[t] == nobody || p.members[m].Generation > p.members[p.owner[t]].Generation) {
				p.owner[t] = m
			}
		}
	}
	for m := range p.members {
		for _, h := range p.members[m].Held {
			if t, known := number[h.Task]; known {
				c := p.copyOn(t, m)
				c.lag, c.bytes = max(h.Lag, -1), min(max(h.Bytes, 0), mostBytes)
			}
		}
		for _, id := range p.members[m].Standby {
			if t, known := number[id]; known && p.owner[t] != m {
				p.copyOn(t, m).follows = true
			}
		}
	}
	for t, o := range p.owner {
		if o != nobody {
			p.copyOn(t, o).lag = 0
		}
		p.fresh[t] = o == nobody && !slices.ContainsFunc(p.copies[t], func(c copyOf) bool { return c.lag >= 0 || c.bytes > 0 })
	}
}

// copyOn returns what m holds of t, made where there was nothing.
func (p *plan) copyOn(t, m int) *copyOf {
	for i := range p.copies[t] {
		if p.copies[t][i].member == m {
			return &p.copies[t][i]
		}
	}
	p.copies[t] = append(p.copies[t], copyOf{member: m, lag: -1})
	return &p.copies[t][len(p.copies[t])-1]
}

// holds returns what m holds of t; nothing has lag -1.
func (p *plan) holds(t, m int) copyOf {
	for _, c := range p.copies[t] {
		if c.member == m {
			return c
		}
	}
	return copyOf{member: m, lag: -1}
}

// caughtUp says whether a copy is near enough to run.
func (p *plan) caughtUp(c copyOf) bool { return c.lag >= 0 && c.lag <= p.s.AcceptableLag }

// ready says whether t can run on m without a warm-up.
func (p *plan) ready(t, m int) bool {
	return !p.tasks[t].State || p.s.WithoutWarmups || p.owner[t] == m || p.fresh[t] || p.caughtUp(p.holds(t, m))
}

// result sorts what was planned by member.
func (p *plan) result() Result {
	r := Result{
		Active: make(map[string][]engine.TaskID), Standby: make(map[string][]engine.TaskID), Awaited: make(map[string][]engine.TaskID),
		Settled: p.settled, Moves: p.moves,
	}
	for _, m := range p.members {
		r.Active[m.ID], r.Standby[m.ID], r.Awaited[m.ID] = nil, nil, nil
	}
	if len(p.members) == 0 {
		return r
	}
	slices.SortStableFunc(r.Moves, func(a, b Move) int { return CompareTasks(a.Task, b.Task) })
	for t := range p.tasks {
		id := p.tasks[t].ID
		if m := p.now[t]; m != nobody {
			r.Active[p.members[m].ID] = append(r.Active[p.members[m].ID], id)
		}
		for _, m := range p.keepers[t] {
			r.Standby[p.members[m].ID] = append(r.Standby[p.members[m].ID], id)
		}
		for _, m := range p.awaited[t] {
			r.Awaited[p.members[m].ID] = append(r.Awaited[p.members[m].ID], id)
		}
	}
	return r
}
