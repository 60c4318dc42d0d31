package state

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"streamctl/internal/record"
)

// The model test runs random operations on a store with two tasks and on plain
// maps, and compares them: what is read at any time, what the changelog would
// hold, and what is left after closing or losing power at any moment.

// text is a decoded row.
type text struct{ s string }

func (d *text) AppendRow(dst []byte) []byte { return append(dst, d.s...) }

// facts are what one task holds, as plain values.
type facts struct {
	tables map[string]map[string]string
	epoch  int64 // kept in the store as a position
	time   int64
	marks  map[string]bool
}

func newFacts() facts {
	return facts{map[string]map[string]string{"own": {}, "fed": {}}, 0, math.MinInt64, map[string]bool{}}
}

func (f facts) clone() facts {
	c := facts{map[string]map[string]string{}, f.epoch, f.time, maps.Clone(f.marks)}
	for name, rows := range f.tables {
		c.tables[name] = maps.Clone(rows)
	}
	return c
}

// modelTask is a task with what is known of it.
type modelTask struct {
	*Task
	partition int32
	now       facts
	sealed    []sealedFacts
	changelog map[string]string
	serial    int64 // of epochs, never repeated
}

type sealedFacts struct {
	s *Sealed
	f facts
}

type model struct {
	t     *rapid.T
	opts  Options
	db    *DB
	tasks []*modelTask
	// history: what the store held, for both tasks, after each write; oldest first.
	history [][]facts
	// durable is the first state of the history that a power loss may lead to.
	durable int
}

var inputTP = record.TopicPartition{Topic: "in.put", Partition: 3}

func modelSpecs() []TableSpec {
	return []TableSpec{{Name: "own", Changelog: "changelog"}, {Name: "fed"}}
}

func (m *model) open(fs FS) {
	m.opts.FS = fs
	db, err := Open(m.opts)
	if err != nil {
		m.t.Fatal(err)
	}
	m.db = db
	for _, task := range m.tasks {
		m.openTask(task)
	}
}

func (m *model) openTask(task *modelTask) {
	var err error
	if task.Task, err = m.db.OpenTask("sub", task.partition, modelSpecs()); err != nil {
		m.t.Fatal(err)
	}
	task.sealed = nil
}

// wrote notes that the store now holds what the tasks' applied facts say.
func (m *model) wrote(applied ...facts) {
	m.history = append(m.history, applied)
}

func (m *model) applied() []facts { return slices.Clone(m.history[len(m.history)-1]) }

// check compares a task with facts: every row by Get and by Scan.
func (m *model) check(task *modelTask, want facts) {
	for name, rows := range want.tables {
		table := task.Table(name)
		got := map[string]string{}
		var last []byte
		err := table.Scan(nil, nil, func(key []byte, r *Row) (bool, error) {
			if last != nil && bytes.Compare(last, key) >= 0 {
				m.t.Fatalf("scan gives %q after %q", key, last)
			}
			last = append([]byte{}, key...)
			got[string(key)] = textOf(r)
			return true, nil
		})
		if err != nil {
			m.t.Fatal(err)
		}
		if !maps.Equal(got, rows) {
			m.t.Fatalf("table %s holds\n%v, want\n%v", name, got, rows)
		}
		for _, key := range modelKeys() {
			m.checkRow(table, key, rows)
		}
	}
	pos, ok := task.Position(inputTP)
	if ok != (want.epoch > 0) || pos != want.epoch {
		m.t.Fatalf("position is %d, %v, want %d", pos, ok, want.epoch)
	}
	if task.StreamTime() != want.time {
		m.t.Fatalf("stream time is %d, want %d", task.StreamTime(), want.time)
	}
	for _, mark := range []string{"a", "b"} {
		if task.Marked(mark) != want.marks[mark] {
			m.t.Fatalf("mark %s is %v", mark, task.Marked(mark))
		}
	}
}

func (m *model) checkRow(table *Table, key string, rows map[string]string) {
	r, err := table.Get([]byte(key))
	if err != nil {
		m.t.Fatal(err)
	}
	want, ok := rows[key]
	if (r != nil) != ok || r != nil && (textOf(r) != want || r.Key() != key) {
		m.t.Fatalf("get %q from %s: %+v, want %q, %v", key, table.Name(), r, want, ok)
	}
}

// textOf reads a row as an operator would: the bytes, else the decoded form.
func textOf(r *Row) string {
	if r.Value != nil {
		return string(r.Value)
	}
	return r.Decoded.(*text).s
}

func modelKeys() []string {
	keys := []string{"", "a", "aa", "ab", "b", "\x00", "\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff"}
	for i := range 12 {
		keys = append(keys, fmt.Sprintf("key-%02d", i))
	}
	return keys
}

// like finds which state of the history the reopened tasks are in.
func (m *model) like() []facts {
	for i := len(m.history) - 1; i >= m.durable; i-- {
		all := true
		for j, task := range m.tasks {
			pos, _ := task.Position(inputTP)
			all = all && pos == m.history[i][j].epoch
		}
		if all {
			return m.history[i]
		}
	}
	m.t.Fatalf("the store is in none of the states it has been in")
	return nil
}

// reopened takes the store's state for the tasks' and checks it.
func (m *model) reopened() {
	state := m.like()
	for i, task := range m.tasks {
		m.check(task, state[i])
		task.now = state[i].clone()
		task.changelog = maps.Clone(state[i].tables["own"]) // as after a restore
	}
	m.history = [][]facts{state}
	m.durable = 0
}

func TestTasksBehaveLikeMaps(t *testing.T) { rapid.Check(t, runModel) }

func runModel(t *rapid.T) {
	m := &model{t: t, opts: Options{
		Dir:           "state",
		CacheBytes:    rapid.SampledFrom([]int64{1, 1000, 3000, 1 << 20}).Draw(t, "cache"),
		MemTableBytes: 64 << 10,
		LoadBytes:     rapid.SampledFrom([]int{64, 300, 1 << 20}).Draw(t, "load"),
	}}
	for p := range int32(2) {
		m.tasks = append(m.tasks, &modelTask{partition: p, now: newFacts(), changelog: map[string]string{}})
	}
	m.history = [][]facts{{newFacts(), newFacts()}}
	m.open(NewCrashFS())
	key := rapid.SampledFrom(modelKeys())
	task := func(t *rapid.T) *modelTask { return rapid.SampledFrom(m.tasks).Draw(t, "task") }
	tableName := rapid.SampledFrom([]string{"own", "fed"})
	t.Repeat(map[string]func(*rapid.T){
		"put": func(t *rapid.T) {
			m.put(task(t), tableName.Draw(t, "table"), key.Draw(t, "key"), rapid.StringN(0, 40, -1).Draw(t, "value"), rapid.Bool().Draw(t, "decoded"))
		},
		"change": func(t *rapid.T) { m.change(task(t), tableName.Draw(t, "table"), key.Draw(t, "key")) },
		"delete": func(t *rapid.T) {
			m.delete(task(t), tableName.Draw(t, "table"), key.Draw(t, "key"), (*Table).Delete)
		},
		"remove": func(t *rapid.T) {
			m.delete(task(t), tableName.Draw(t, "table"), key.Draw(t, "key"), (*Table).Remove)
		},
		"restate": func(t *rapid.T) { m.restate(task(t), key.Draw(t, "key")) },
		"get": func(t *rapid.T) {
			task, name := task(t), tableName.Draw(t, "table")
			m.checkRow(task.Table(name), key.Draw(t, "key"), task.now.tables[name])
		},
		"time": func(t *rapid.T) {
			task := task(t)
			task.now.time = rapid.Int64().Draw(t, "time")
			task.SetStreamTime(task.now.time)
		},
		"mark": func(t *rapid.T) {
			task, name := task(t), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "mark")
			task.now.marks[name] = true
			task.Mark(name)
		},
		"seal":       func(t *rapid.T) { m.seal(task(t)) },
		"apply":      func(t *rapid.T) { m.apply(task(t)) },
		"apply both": func(t *rapid.T) { m.applyBoth() },
		"commit":     func(t *rapid.T) { task := task(t); m.seal(task); m.apply(task) },
		"load":       func(t *rapid.T) { m.load(task(t), rapid.SliceOfN(key, 0, 30).Draw(t, "keys")) },
		"abandon":    func(t *rapid.T) { m.abandon(task(t)) },
		"drop":       func(t *rapid.T) { m.drop(task(t)) },
		"reopen":     func(t *rapid.T) { m.reopen() },
		"lose power": func(t *rapid.T) {
			m.losePower(rapid.SampledFrom([]int{0, 25, 50, 75, 100}).Draw(t, "kept"), rapid.Uint64().Draw(t, "seed"))
		},
		"": func(*rapid.T) { m.checkAll() },
	})
	if err := m.db.Close(); err != nil {
		t.Fatal(err)
	}
}

func (m *model) put(task *modelTask, name, key, value string, decoded bool) {
	var err error
	if decoded {
		_, err = task.Table(name).PutDecoded([]byte(key), &text{value})
	} else {
		_, err = task.Table(name).Put([]byte(key), []byte(value))
	}
	if err != nil {
		m.t.Fatal(err)
	}
	task.now.tables[name][key] = value
}

// change changes a row's decoded form in place.
func (m *model) change(task *modelTask, name, key string) {
	table := task.Table(name)
	r, err := table.Get([]byte(key))
	if err != nil {
		m.t.Fatal(err)
	}
	if r == nil {
		return
	}
	if r.Decoded == nil {
		table.SetDecoded(r, &text{string(r.Value)}, 40)
	}
	// Other rows may drive it out of the cache in between.
	for _, other := range modelKeys()[:5] {
		if other != key {
			if _, err := table.Get([]byte(other)); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	doc := r.Decoded.(*text)
	doc.s += "+"
	table.MarkDirty(r)
	task.now.tables[name][key] += "+"
}

func (m *model) delete(task *modelTask, name, key string, by func(*Table, []byte) error) {
	if err := by(task.Table(name), []byte(key)); err != nil {
		m.t.Fatal(err)
	}
	delete(task.now.tables[name], key)
}

// restate must bring what the changelog says of a key in line, whatever it said.
func (m *model) restate(task *modelTask, key string) {
	if err := task.Table("own").Restate([]byte(key)); err != nil {
		m.t.Fatal(err)
	}
	task.changelog[key] = "somebody else's"
}

// seal ends the epoch; the changelog must then say what the table says.
func (m *model) seal(task *modelTask) {
	task.serial++
	task.now.epoch = task.serial
	task.SetPosition(inputTP, task.serial)
	s, err := task.Seal(func(table *Table, key, row []byte) {
		if table.Name() != "own" {
			m.t.Fatalf("changelog row of table %s", table.Name())
		}
		if row == nil {
			delete(task.changelog, string(key))
			return
		}
		value, err := DecodeChangelog(row)
		if err != nil {
			m.t.Fatal(err)
		}
		task.changelog[string(key)] = string(value)
	})
	if err != nil {
		m.t.Fatal(err)
	}
	if !maps.Equal(task.changelog, task.now.tables["own"]) {
		m.t.Fatalf("changelog holds\n%v, want\n%v", task.changelog, task.now.tables["own"])
	}
	task.sealed = append(task.sealed, sealedFacts{s, task.now.clone()})
}

func (m *model) apply(task *modelTask) {
	if len(task.sealed) == 0 {
		return
	}
	next := task.sealed[0]
	task.sealed = task.sealed[1:]
	if err := task.Apply(next.s); err != nil {
		m.t.Fatal(err)
	}
	applied := m.applied()
	applied[task.partition] = next.f
	m.wrote(applied...)
}

// applyBoth writes all sealed epochs of both tasks as one.
func (m *model) applyBoth() {
	var all []*Sealed
	applied := m.applied()
	for i, task := range m.tasks {
		for _, s := range task.sealed {
			all = append(all, s.s)
			applied[i] = s.f
		}
		task.sealed = nil
	}
	if err := m.db.Apply(all...); err != nil {
		m.t.Fatal(err)
	}
	m.wrote(applied...)
}

// load puts rows into the table that has no changelog of its own; every third
// one is a deletion.
func (m *model) load(task *modelTask, keys []string) {
	table := task.Table("fed")
	applied := m.applied()
	loaded := applied[task.partition].clone()
	l := table.Loader()
	for i, key := range keys {
		value := fmt.Sprintf("loaded %d", i)
		var row []byte
		if i%3 == 2 {
			delete(loaded.tables["fed"], key)
		} else {
			row = []byte(value)
			loaded.tables["fed"][key] = value
		}
		if err := l.Add([]byte(key), row); err != nil {
			m.t.Fatal(err)
		}
	}
	task.serial++
	loaded.epoch = task.serial
	loaded.marks["a"] = true
	unclean := table.pinned > 0 || len(task.sealed) > 0 || task.Changed()
	if unclean && table.pinned == 0 {
		l.Abandon() // allowed, but the model could not tell what a crash may leave
		return
	}
	err := l.Finish(map[record.TopicPartition]int64{inputTP: task.serial}, "a")
	if unclean {
		if !errors.Is(err, ErrUncommitted) {
			m.t.Fatalf("load into a changed table: %v", err)
		}
		l.Abandon()
		return
	}
	if err != nil {
		m.t.Fatal(err)
	}
	task.now = loaded.clone()
	applied[task.partition] = loaded
	m.wrote(applied...)
}

func (m *model) abandon(task *modelTask) {
	task.Abandon()
	m.openTask(task)
	task.now = m.applied()[task.partition].clone()
	task.changelog = maps.Clone(task.now.tables["own"])
	m.check(task, task.now)
}

func (m *model) drop(task *modelTask) {
	if err := task.Drop(); err != nil {
		m.t.Fatal(err)
	}
	task.sealed = nil
	task.now, task.changelog = newFacts(), map[string]string{}
	applied := m.applied()
	applied[task.partition] = newFacts()
	m.wrote(applied...)
	m.durable = len(m.history) - 1
}

func (m *model) reopen() {
	if err := m.db.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.durable = len(m.history) - 1
	m.open(m.opts.FS)
	m.reopened()
}

// losePower goes on with what a power loss leaves.
func (m *model) losePower(kept int, seed uint64) {
	fs := CrashClone(m.opts.FS, kept, seed)
	if err := m.db.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.open(fs)
	m.reopened()
}

func (m *model) checkAll() {
	var used int64
	for _, task := range m.tasks {
		m.check(task, task.now)
		for _, table := range task.order {
			used += table.bytes
			checkCache(m.t, table)
		}
	}
	if got := m.db.CacheStats().Used; got != used {
		m.t.Fatalf("cache accounts for %d bytes, its tables for %d", got, used)
	}
}

// checkCache recounts a table's cache.
func checkCache(t *rapid.T, table *Table) {
	var bytes, pinned int64
	live := 0
	for i, r := range table.ring {
		bytes += int64(r.size)
		if r.epoch > table.task.applied {
			pinned += int64(r.size)
		}
		if !r.gone {
			live++
		}
		if table.rows[r.key] != r || r.slot != int32(i) {
			t.Fatalf("row %q is out of place", r.key)
		}
	}
	if bytes != table.bytes || pinned != table.pinned || live != table.live || len(table.rows) != len(table.ring) {
		t.Fatalf("table %s accounts for %d bytes, %d pinned, %d rows; it has %d, %d, %d",
			table.name, table.bytes, table.pinned, table.live, bytes, pinned, live)
	}
}

// TestLoadsMatchMaps loads many rows through several runs and files.
func TestLoadsMatchMaps(t *testing.T) {
	for _, loadBytes := range []int{2 << 10, 64 << 10, 4 << 20} {
		t.Run(fmt.Sprint(loadBytes), func(t *testing.T) {
			db, err := Open(Options{Dir: "state", FS: NewMemFS(), LoadBytes: loadBytes})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			task, err := db.OpenTask("sub", 0, modelSpecs())
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(7, uint64(loadBytes)))
			want := map[string]string{}
			for round := range 3 {
				l := task.Table("fed").Loader()
				for i := range 5000 {
					key := fmt.Sprintf("%d", rng.IntN(2000))
					if rng.IntN(4) == 0 {
						delete(want, key)
						if err := l.Add([]byte(key), nil); err != nil {
							t.Fatal(err)
						}
						continue
					}
					want[key] = fmt.Sprintf("%d/%d", round, i)
					if err := l.Add([]byte(key), []byte(want[key])); err != nil {
						t.Fatal(err)
					}
				}
				if err := l.Finish(map[record.TopicPartition]int64{inputTP: int64(round)}); err != nil {
					t.Fatal(err)
				}
				got := map[string]string{}
				err := task.Table("fed").Scan(nil, nil, func(key []byte, r *Row) (bool, error) {
					got[string(key)] = string(r.Value)
					return true, nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if !maps.Equal(got, want) {
					t.Fatalf("round %d: %d rows, want %d", round, len(got), len(want))
				}
			}
		})
	}
}
