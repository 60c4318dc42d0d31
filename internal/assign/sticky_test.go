package assign

import (
	"fmt"
	"testing"

	"streamctl/internal/engine"
)

// where says by name who runs what.
func (w *world) where() map[engine.TaskID]string {
	out := make(map[engine.TaskID]string)
	for _, p := range w.peers {
		for id := range p.active {
			out[id] = p.name
		}
	}
	return out
}

// grown is a settled group of at least least members, who all say how many
// workers they have. With even, all tasks and members are alike, and there is no state.
func grown(t *testing.T, seed uint64, least int, even bool) *world {
	w := newWorld(t, seed)
	for range least + w.rnd.IntN(6) {
		w.join()
	}
	for _, p := range w.peers {
		p.workers = max(p.workers, 1)
		if even {
			p.workers = 2
		}
	}
	if even {
		w.set.Standbys = 0
		for i := range w.tasks {
			w.tasks[i].Inputs = w.tasks[i].Inputs[:1]
			w.sizes[w.tasks[i].ID] = 0
		}
	}
	w.settle()
	return w
}

// TestJoinMovesItsShare lets an empty process join a settled group. With tasks
// and members that are alike, what moves, moves to it, and is no more than its
// share. Uneven ones may trade places besides, seldom.
func TestJoinMovesItsShare(t *testing.T) {
	for _, even := range []bool{true, false} {
		t.Run(fmt.Sprintf("even=%v", even), func(t *testing.T) {
			aside, moved := 0, 0
			all := seeds(t, 400)
			for _, seed := range all {
				w := grown(t, seed, 1, even)
				before := w.where()
				w.gone = nil
				w.join()
				newcomer := w.peers[len(w.peers)-1]
				newcomer.workers = max(newcomer.workers, 1)
				if even {
					newcomer.workers = 2
				}
				w.settle()
				others := 0
				for id, name := range w.where() {
					if name != before[id] {
						moved++
						if name != newcomer.name {
							others++
						}
					}
				}
				if even && (others > 0 || len(newcomer.active) > len(w.tasks)/len(w.peers)) {
					w.failf("%d tasks of %d went to the newcomer, %d to others", len(newcomer.active), len(w.tasks), others)
				}
				aside += others
			}
			t.Logf("%d of %d moves did not go to the newcomer", aside, moved)
			if len(all) >= 100 && aside > moved/8 {
				t.Errorf("%d of %d moves did not go to the newcomer", aside, moved)
			}
		})
	}
}

// TestLeaveMovesWhatWasLeft ends a process of a settled group. With tasks and
// members that are alike only its tasks move. Where they must go to whoever has
// their state, some of his may have to make room.
func TestLeaveMovesWhatWasLeft(t *testing.T) {
	for _, even := range []bool{true, false} {
		t.Run(fmt.Sprintf("even=%v", even), func(t *testing.T) {
			left, aside := 0, 0
			all := seeds(t, 400)
			for _, seed := range all {
				w := grown(t, seed, 2, even)
				before := w.where()
				w.leave()
				gone := w.gone[len(w.gone)-1].name
				w.settle()
				others := 0
				for id, name := range w.where() {
					switch {
					case before[id] == gone:
						left++
					case name != before[id]:
						others++
					}
				}
				if even && others > 0 {
					w.failf("%d tasks moved that had not been left", others)
				}
				aside += others
			}
			t.Logf("%d tasks were left, %d others moved", left, aside)
			if len(all) >= 100 && aside > left/6 {
				t.Errorf("%d tasks were left, %d others moved", left, aside)
			}
		})
	}
}

// TestWobble misjudges the sizes of all states by up to 2.5 percent, anew in
// every round: a task that has moved does not come back.
func TestWobble(t *testing.T) {
	moves := 0
	for _, seed := range seeds(t, 250) {
		w := grown(t, seed, 2, false)
		been := make(map[engine.TaskID]map[string]bool)
		for id, name := range w.where() {
			been[id] = map[string]bool{name: true}
		}
		last := w.where()
		for range 60 {
			w.rebalance(0.025)
			w.catchUp(false)
			for id, name := range w.where() {
				if name != last[id] && been[id][name] {
					w.failf("%v came back to %s", id, name)
				}
				if name != last[id] {
					moves++
				}
				been[id][name] = true
				last[id] = name
			}
		}
	}
	t.Logf("%d moves", moves)
}
