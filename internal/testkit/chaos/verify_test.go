package chaos

import (
	"context"
	"fmt"
	"strings"
	"time"

	"streamctl/internal/testkit"
)

// finish ends a story: the faults are over, what was fed is processed, processes
// end in an orderly way, and everything that came out is checked.
func (f *fleet) finish() {
	f.t.Helper()
	f.settle()
	f.verify()
}

// settle ends the feed, lets every member run, waits until all is processed, and
// feeds the last views of the join, which must meet the last edits.
func (f *fleet) settle() {
	f.t.Helper()
	f.calm()
	for _, m := range f.members {
		if m.paused {
			f.resume(m.index)
		}
	}
	f.startAll()
	f.awaitDone()
	f.awaitCommitted()
	for _, j := range f.jobs {
		if j.live != nil {
			j.send(j.live.LastViews()...)
		}
	}
	f.awaitDone()
	f.awaitCommitted()
}

// awaitCommitted waits until the committed offsets of every group are at the
// ends of its inputs: first of those that are fed, then of those that it writes
// itself. What is committed of the former has been written to the latter, though
// it may be to be read only in a moment, when the transactions' markers are written.
func (f *fleet) awaitCommitted() {
	f.t.Helper()
	f.awaitOffsets((*job).inputs, f.cluster.Ends)
	f.awaitOffsets((*job).rekeyed, f.cluster.EndsOfRecords) // the markers behind them need no commit
}

// awaitOffsets waits until every group is committed up to the ends of those topics.
func (f *fleet) awaitOffsets(topics func(*job) []string, ends endsOf) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*patience)
	defer cancel()
	behind := "nothing was asked yet"
	tick := time.NewTicker(5 * look)
	defer tick.Stop()
	for end := time.Now().Add(patience); behind != ""; {
		f.checkAlive()
		if time.Now().After(end) {
			f.t.Fatalf("the inputs are not committed to their ends: %s", behind)
		}
		<-tick.C
		var err error
		if behind, err = f.behind(ctx, topics, ends); err != nil {
			behind = err.Error()
		}
	}
}

// endsOf gives the offset that every partition of a topic is to be committed at.
type endsOf func(ctx context.Context, topic string) (map[int32]int64, error)

// behind tells of inputs that are not committed to their ends, "" for none.
func (f *fleet) behind(ctx context.Context, topics func(*job) []string, ends endsOf) (string, error) {
	var out []string
	for _, j := range f.jobs {
		for _, topic := range topics(j) {
			want, err := ends(ctx, topic)
			if err != nil {
				return "", err
			}
			committed, err := f.cluster.Committed(ctx, j.name)
			if err != nil {
				return "", err
			}
			for p, end := range want {
				if at := committed[topic][p]; at < end {
					out = append(out, fmt.Sprintf("%s/%d is at %d of %d", topic, p, at, end))
				}
			}
		}
	}
	return strings.Join(out, ", "), nil
}

// inputs are the topics that the job reads and others write.
func (j *job) inputs() []string {
	if j.live == nil {
		return []string{j.topic("views")}
	}
	return []string{j.topic("views"), j.topic("profiles")}
}

// rekeyed are the topics that the job reads and writes itself.
func (j *job) rekeyed() []string {
	if j.live == nil {
		return nil
	}
	return []string{j.name + ".profiles.changelog"}
}

// verify stops all members and checks what is left: no transaction open, every
// record of every partition the model's.
func (f *fleet) verify() {
	f.t.Helper()
	f.terminate(f.which(nil, runs))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	open := f.openTransactions(ctx)
	if len(open) > 0 {
		f.t.Errorf("transactions are left open:\n%s", strings.Join(open, "\n"))
	}
	records, tables, differences := 0, 0, 0
	for _, j := range f.jobs {
		n, same := f.compare(ctx, j)
		records += n
		stores, alike := f.compareStores(ctx, j)
		tables += stores
		if !same || !alike {
			differences++
		}
		if stores == 0 {
			f.t.Errorf("%s: no table has been compared with its changelog: this shows too little", j.name)
		}
	}
	f.t.Logf("%d faults, %d records compared with the model, %d tables with their changelogs, %.1f s", len(f.faults), records, tables, time.Since(f.begun).Seconds())
	all.tally.add(func(t *tally) {
		t.stories = append(t.stories, f.t.Name())
		for _, x := range f.faults {
			t.faults[x.kind]++
		}
		t.records += records
		t.differences += differences
		t.open += len(open)
	})
}

// compare compares the outputs of a job with its model's.
func (f *fleet) compare(ctx context.Context, j *job) (records int, same bool) {
	f.t.Helper()
	same = true
	if j.live != nil {
		if err := f.cluster.Read(ctx, j.topic("out"), j.live.Output); err != nil {
			f.t.Fatal(err)
		}
		for _, fault := range j.live.Faults() {
			f.differs("%s: %s", j.name, fault)
			same = false
		}
	}
	want, got, err := f.cluster.WantAndGot(ctx, j.topic("views"), j.topic("out"), j.model)
	if err != nil {
		f.t.Fatal(err)
	}
	if got.Len() == 0 {
		f.t.Errorf("%s: nothing came out: this shows too little", j.name)
	}
	if diff := testkit.Diff(want, got); diff != "" {
		f.differs("%s: output differs from the model: %s", j.name, diff)
		same = false
	}
	return got.Len(), same
}

// differs fails the story, and has the summary say why.
func (f *fleet) differs(format string, args ...any) {
	f.t.Helper()
	what := fmt.Sprintf(format, args...)
	f.t.Error(what)
	all.tally.add(func(t *tally) { t.found = append(t.found, f.t.Name()+": "+what) })
}

// openTransactions waits a little for the markers of the last transactions, and
// gives those that are open then.
func (f *fleet) openTransactions(ctx context.Context) []string {
	f.t.Helper()
	tick := time.NewTicker(5 * look)
	defer tick.Stop()
	for end := time.Now().Add(5*time.Second + calmFactor*f.calmTime); ; <-tick.C {
		open, err := f.askTransactions(ctx)
		if err != nil {
			f.t.Fatal(err)
		}
		if len(open) == 0 || time.Now().After(end) {
			return open
		}
	}
}

func (f *fleet) askTransactions(ctx context.Context) ([]string, error) {
	var prefixes, topics []string
	for _, j := range f.jobs {
		prefixes = append(prefixes, j.name)
	}
	open, err := f.cluster.OpenTransactions(ctx, prefixes...)
	if err != nil {
		return nil, err
	}
	if topics, err = f.cluster.TopicsWith(ctx, prefixes...); err != nil {
		return nil, err
	}
	producers, err := f.cluster.Producers(ctx, topics...)
	return append(open, producers...), err
}
