package assign

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// world is a group of which every member follows orders: the model that the
// assignor is tried in. One seed decides everything.
type world struct {
	t     *testing.T
	seed  uint64
	rnd   *rand.Rand
	tasks []engine.TaskInfo
	sizes map[engine.TaskID]int64 // of the state, when complete
	set   Settings
	peers []*peer // alive
	gone  []*peer // stopped, with what is left on their disks
	ids   int
	speed int64 // records that a copy reads per round
	last  Result
	trace []string
}

// peer is one process.
type peer struct {
	name, id, rack string
	workers        int
	active         map[engine.TaskID]bool
	standby        map[engine.TaskID]bool
	lag            map[engine.TaskID]int64 // of what is on its disk
}

const acceptable = 1000

func (w *world) failf(format string, args ...any) {
	w.t.Helper()
	for _, line := range w.trace {
		w.t.Log(line)
	}
	w.t.Fatalf("seed %d: "+format, append([]any{w.seed}, args...)...)
}

func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// newWorld makes a pipeline and the settings of a group without members.
func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 1)), sizes: make(map[engine.TaskID]int64)}
	uneven := w.rnd.IntN(3)
	for sub := range 1 + w.rnd.IntN(4) {
		state := w.rnd.IntN(3) > 0
		inputs := 1 + w.rnd.IntN(3)
		for part := range 1 + w.rnd.Int32N(12) {
			id := engine.TaskID{Sub: fmt.Sprintf("s%d", sub), Partition: part}
			task := engine.TaskInfo{ID: id, State: state}
			for i := range inputs {
				task.Inputs = append(task.Inputs, record.TopicPartition{Topic: fmt.Sprintf("t%d-%d", sub, i), Partition: part})
			}
			w.tasks = append(w.tasks, task)
			switch uneven {
			case 1:
				w.sizes[id] = w.rnd.Int64N(1 << 30)
			case 2: // a few are enormous
				w.sizes[id] = 1 << (20 + w.rnd.IntN(20))
			default:
				w.sizes[id] = 100 << 20
			}
		}
	}
	w.set = Settings{Standbys: w.rnd.IntN(3), AcceptableLag: acceptable, MaxWarmups: w.rnd.IntN(4)}
	w.speed = 1 << (8 + w.rnd.IntN(16))
	return w
}

// join adds a process, or brings one back.
func (w *world) join() {
	var p *peer
	if len(w.gone) > 0 && w.rnd.IntN(2) == 0 {
		i := w.rnd.IntN(len(w.gone))
		p = w.gone[i]
		w.gone = slices.Delete(w.gone, i, i+1)
		for _, id := range sorted(p.lag) {
			p.lag[id] += w.rnd.Int64N(2 * acceptable)
		}
	} else {
		p = &peer{name: fmt.Sprintf("m%02d", w.ids), rack: []string{"", "r1", "r2", "r3"}[w.rnd.IntN(4)], lag: make(map[engine.TaskID]int64)}
		p.workers = []int{0, 1, 2, 2, 2, 4, 16}[w.rnd.IntN(7)]
	}
	w.ids++
	p.id = fmt.Sprintf("%s-%d", p.name, w.rnd.IntN(1000)*1000+w.ids)
	p.active, p.standby = make(map[engine.TaskID]bool), make(map[engine.TaskID]bool)
	w.peers = append(w.peers, p)
	w.note("join %s workers=%d rack=%q", p.name, p.workers, p.rack)
}

// leave ends a process; its disk stays.
func (w *world) leave() {
	if len(w.peers) == 0 {
		return
	}
	i := w.rnd.IntN(len(w.peers))
	p := w.peers[i]
	w.peers = slices.Delete(w.peers, i, i+1)
	if w.rnd.IntN(4) == 0 {
		p.lag = make(map[engine.TaskID]int64) // so much for the disk
	}
	w.gone = append(w.gone, p)
	w.note("leave %s", p.name)
}

// bounce restarts a process in the middle of a rebalance: it comes back under
// its name, with its disk, and runs nothing.
func (w *world) bounce() {
	if len(w.peers) == 0 {
		return
	}
	p := w.peers[w.rnd.IntN(len(w.peers))]
	w.ids++
	p.id = fmt.Sprintf("%s-%d", p.name, w.ids)
	clear(p.active)
	clear(p.standby)
	w.note("bounce %s", p.name)
}

// resize changes how much state some tasks have.
func (w *world) resize() {
	for _, task := range w.tasks {
		if w.rnd.IntN(4) == 0 {
			w.sizes[task.ID] = 1 << (20 + w.rnd.IntN(15))
		}
	}
	w.note("resize")
}

// members describes the processes, in any order. wobble is by how much sizes are misjudged.
func (w *world) members(wobble float64) []Member {
	var out []Member
	for _, i := range w.rnd.Perm(len(w.peers)) {
		p := w.peers[i]
		m := Member{Name: p.name, ID: p.id, Rack: p.rack, Workers: p.workers, Active: sorted(p.active), Standby: sorted(p.standby)}
		for _, id := range sorted(p.lag) {
			size := float64(w.sizes[id]) * (1 + wobble*(2*w.rnd.Float64()-1))
			m.Held = append(m.Held, engine.Held{Task: id, Lag: p.lag[id], Bytes: int64(size)})
		}
		out = append(out, m)
	}
	return out
}

func sorted[V any](m map[engine.TaskID]V) []engine.TaskID {
	return slices.SortedFunc(maps.Keys(m), CompareTasks)
}

// rebalance deals once, checks what must hold always, and lets everybody follow.
func (w *world) rebalance(wobble float64) Result {
	members := w.members(wobble)
	r := Assign(w.tasks, members, w.set)
	w.note("%d members: settled=%v moves=%v", len(members), r.Settled, r.Moves)
	w.checkOrder(members, r)
	w.checkRound(members, r)
	for _, p := range w.peers {
		p.active, p.standby = set(r.Active[p.id]), set(r.Standby[p.id])
		for id := range p.active {
			if w.state(id) {
				p.lag[id] = 0
			}
		}
	}
	w.last = r
	return r
}

func set(ids []engine.TaskID) map[engine.TaskID]bool {
	out := make(map[engine.TaskID]bool)
	for _, id := range ids {
		out[id] = true
	}
	return out
}

func (w *world) state(id engine.TaskID) bool {
	i := slices.IndexFunc(w.tasks, func(t engine.TaskInfo) bool { return t.ID == id })
	return w.tasks[i].State
}

// pass lets time go by: copies catch up, what lies idle falls behind.
func (w *world) pass() {
	for _, p := range w.peers {
		for id := range p.standby {
			lag, begun := p.lag[id]
			if !begun {
				lag = 1_000_000
			}
			p.lag[id] = max(0, lag-w.speed)
		}
		for id := range p.lag {
			if !p.active[id] && !p.standby[id] {
				p.lag[id] += 50
			}
		}
	}
}

// checkOrder deals the same in another order.
func (w *world) checkOrder(members []Member, r Result) {
	tasks := slices.Clone(w.tasks)
	slices.Reverse(tasks)
	mixed := slices.Clone(members)
	slices.Reverse(mixed)
	for i := range mixed {
		held := slices.Clone(mixed[i].Held)
		slices.Reverse(held)
		mixed[i].Held = held
	}
	if again := Assign(tasks, mixed, w.set); !reflect.DeepEqual(again, r) {
		w.failf("the order of the arguments matters:\n%+v\n%+v", r, again)
	}
}

// checkRound checks what holds for every single round.
func (w *world) checkRound(members []Member, r Result) {
	owner := make(map[engine.TaskID]string)
	lags := make(map[engine.TaskID]map[string]int64)
	for _, task := range w.tasks {
		lags[task.ID] = make(map[string]int64)
	}
	for _, m := range members {
		for _, h := range m.Held {
			lags[h.Task][m.ID] = h.Lag
		}
		for _, id := range m.Active {
			owner[id] = m.ID
			lags[id][m.ID] = 0
		}
	}
	runs, keeps := make(map[engine.TaskID]string), make(map[engine.TaskID]int)
	for _, m := range members {
		for _, id := range r.Active[m.ID] {
			if other, twice := runs[id]; twice {
				w.failf("%v runs on %s and %s", id, other, m.ID)
			}
			runs[id] = m.ID
		}
		if !slices.IsSortedFunc(r.Standby[m.ID], CompareTasks) || len(set(r.Standby[m.ID])) != len(r.Standby[m.ID]) {
			w.failf("standbys of %s: %v", m.ID, r.Standby[m.ID])
		}
		for _, id := range r.Standby[m.ID] {
			keeps[id]++
			if slices.Contains(r.Active[m.ID], id) {
				w.failf("%v is active and standby on %s", id, m.ID)
			}
		}
		for _, id := range r.Awaited[m.ID] {
			if !slices.Contains(r.Standby[m.ID], id) {
				w.failf("%v is awaited on %s and not kept there", id, m.ID)
			}
		}
	}
	if len(members) == 0 {
		return
	}
	for _, task := range w.tasks {
		w.checkTask(task, owner[task.ID], runs[task.ID], lags[task.ID], keeps[task.ID])
		w.checkCopies(members, r, task)
	}
	warming := 0
	for _, m := range r.Moves {
		if m.Step == StepWarming {
			warming++
		}
	}
	most := w.set.MaxWarmups
	if most == 0 {
		most = 2 * len(members)
	}
	if warming > most {
		w.failf("%d warm-ups, %d allowed", warming, most)
	}
}

func (w *world) checkTask(task engine.TaskInfo, owner, runs string, lags map[string]int64, keeps int) {
	id := task.ID
	caughtUp, least := false, int64(1<<62)
	for m, lag := range lags {
		if m != owner && lag >= 0 {
			least = min(least, lag)
			caughtUp = caughtUp || lag <= acceptable
		}
	}
	switch {
	case owner == "" && runs == "":
		w.failf("nobody runs %v", id)
	case owner != "" && runs != "" && runs != owner:
		w.failf("%v was given to %s while %s had it", id, runs, owner)
	case owner != "" && runs == "" && task.State && !caughtUp:
		w.failf("%s lets %v go, but nobody has caught up", owner, id)
	case owner == "" && task.State && len(lags) > 0:
		lag, has := lags[runs]
		if !has || caughtUp && lag > acceptable || !caughtUp && lag > least {
			w.failf("%v was given to %s, lags are %v", id, runs, lags)
		}
	}
	want := 0
	if task.State {
		want = min(w.set.Standbys, len(w.peers)-1)
	}
	if keeps < want {
		w.failf("%d copies of %v, want %d", keeps, id, want)
	}
}

// checkCopies checks that there are not fewer copies that have caught up than
// before, as long as those are not too many.
func (w *world) checkCopies(members []Member, r Result, task engine.TaskInfo) {
	before, after := 0, 0
	for _, m := range members {
		good := slices.ContainsFunc(m.Held, func(h engine.Held) bool { return h.Task == task.ID && h.Lag >= 0 && h.Lag <= acceptable })
		if !good {
			continue
		}
		if slices.Contains(m.Standby, task.ID) && !slices.Contains(r.Active[m.ID], task.ID) {
			before++
		}
		if slices.Contains(r.Standby[m.ID], task.ID) {
			after++
		}
	}
	if task.State && after < min(before, w.set.Standbys) {
		w.failf("%d of %d copies of %v that had caught up are left, want %d", after, before, task.ID, w.set.Standbys)
	}
}

// settle rebalances until nothing is on its way, all copies have caught up, and
// all sizes are known.
func (w *world) settle() int {
	for round, calm := 1, 0; ; round++ {
		if r := w.rebalance(0); !r.Settled {
			calm = 0
		} else if calm++; calm == 3 {
			w.checkSettled(r)
			return round
		}
		if round > 4*len(w.tasks)+10 {
			w.failf("not settled after %d rounds", round)
		}
		w.catchUp(calm > 0)
	}
}

// catchUp lets time pass until a copy that is awaited has caught up, or all have.
func (w *world) catchUp(all bool) {
	for {
		waiting, done := 0, 0
		for _, p := range w.peers {
			for id := range p.standby {
				lag, begun := p.lag[id]
				switch {
				case !all && !slices.Contains(w.last.Awaited[p.id], id):
				case begun && lag <= acceptable:
					done++
				default:
					waiting++
				}
			}
		}
		if done > 0 && !all || waiting == 0 {
			return
		}
		w.pass()
	}
}

// checkSettled checks what holds when nothing is on its way.
func (w *world) checkSettled(r Result) {
	if len(w.peers) == 0 {
		return
	}
	again := w.rebalance(0)
	if !again.Settled || !reflect.DeepEqual(again.Active, r.Active) || !reflect.DeepEqual(again.Standby, r.Standby) {
		w.failf("settled, and another round changes it:\n%v %v\n%v %v", r.Active, r.Standby, again.Active, again.Standby)
	}
	runs := make(map[engine.TaskID]*peer)
	keeps := make(map[engine.TaskID][]*peer)
	for _, p := range w.peers {
		for _, id := range r.Active[p.id] {
			runs[id] = p
		}
		for _, id := range r.Standby[p.id] {
			keeps[id] = append(keeps[id], p)
		}
	}
	all := make(map[string]bool)
	for _, p := range w.peers {
		all[p.rack] = true
	}
	for _, task := range w.tasks {
		if runs[task.ID] == nil {
			w.failf("settled, and nobody runs %v", task.ID)
		}
		want := 0
		if task.State {
			want = min(w.set.Standbys, len(w.peers)-1)
		}
		if len(keeps[task.ID]) != want {
			w.failf("settled, and %d copies of %v, want %d", len(keeps[task.ID]), task.ID, want)
		}
		racks := map[string]bool{runs[task.ID].rack: true}
		for _, p := range keeps[task.ID] {
			racks[p.rack] = true
		}
		if len(racks) != min(len(all), 1+want) {
			w.failf("copies of %v are in %d racks of %d", task.ID, len(racks), len(all))
		}
	}
	w.checkBalance(r)
}

// checkBalance checks the bound of docs/assignment.md: the fullest member has at
// most 17/15 of what the mean, and the lightest of its tasks on a member below
// the mean, come to.
func (w *world) checkBalance(r Result) {
	weights := w.weights()
	loads, capacity := make([]float64, len(w.peers)), make([]float64, len(w.peers))
	var known []int
	for _, p := range w.peers {
		if p.workers > 0 {
			known = append(known, p.workers)
		}
	}
	slices.Sort(known)
	var load, workers float64
	for i, p := range w.peers {
		capacity[i] = 1
		if p.workers > 0 {
			capacity[i] = float64(p.workers)
		} else if len(known) > 0 {
			capacity[i] = float64(known[(len(known)-1)/2])
		}
		for _, id := range r.Active[p.id] {
			loads[i] += weights[id]
		}
		load += loads[i]
		workers += capacity[i]
	}
	mean := load / workers
	for i, p := range w.peers {
		lightest := 1e18
		for _, id := range r.Active[p.id] {
			lightest = min(lightest, weights[id])
		}
		for j := range w.peers {
			if loads[j]/capacity[j] > mean || i == j {
				continue
			}
			if bound := 17. / 15 * (loads[j] + lightest) / capacity[j]; loads[i]/capacity[i] > bound+1e-3 {
				w.failf("%s has %.3f per worker, the bound is %.3f, the mean %.3f", p.name, loads[i]/capacity[i], bound, mean)
			}
		}
	}
}

// weights are those of the specification, computed anew.
func (w *world) weights() map[engine.TaskID]float64 {
	var inputs, bytes, states float64
	for _, task := range w.tasks {
		inputs += float64(len(task.Inputs))
		if task.State {
			bytes += float64(w.sizes[task.ID])
			states++
		}
	}
	unit := float64(64 << 20)
	if states > 0 {
		unit = max(unit, bytes/states)
	}
	out := make(map[engine.TaskID]float64)
	for _, task := range w.tasks {
		out[task.ID] = float64(len(task.Inputs)) * float64(len(w.tasks)) / inputs
		if task.State {
			out[task.ID] += float64(w.sizes[task.ID]) / unit
		}
	}
	return out
}
