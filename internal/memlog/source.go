package memlog

import (
	"fmt"
	"sort"
	"time"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// source fetches for one worker. It is guarded by log.mu.
type source struct {
	t    *Transport
	name string // the how manieth of its process
	subs map[record.TopicPartition]*subscription
	lent map[*engine.Fetched]*subscription // not released yet
	wake chan struct{}
}

type subscription struct {
	tp       record.TopicPartition
	iso      engine.Isolation
	next     int64
	lent     int   // unreleased bytes
	toldEnd  int64 // the end that was last reported as reached, -1 = none
	toldHead bool  // something was reported at all
	stopped  bool
}

func (s *source) Start(tp record.TopicPartition, offset int64, iso engine.Isolation) {
	s.t.log.mu.Lock()
	defer s.t.log.mu.Unlock()
	if old := s.subs[tp]; old != nil {
		old.stopped = true
	}
	s.subs[tp] = &subscription{tp: tp, iso: iso, next: offset, toldEnd: -1}
}

func (s *source) Rush(record.TopicPartition) {}

func (s *source) Stop(tp record.TopicPartition) {
	s.t.log.mu.Lock()
	defer s.t.log.mu.Unlock()
	if sub := s.subs[tp]; sub != nil {
		sub.stopped = true
		delete(s.subs, tp)
	}
}

func (s *source) Poll(wait time.Duration) []*engine.Fetched {
	if s.t.log.cfg.Gated {
		return s.gated(wait)
	}
	expired := make(chan struct{})
	var stop func()
	defer func() {
		if stop != nil {
			stop()
		}
	}()
	for {
		l := s.t.log
		out, changed := s.collect()
		if len(out) > 0 || wait <= 0 || l.cfg.Immediate {
			return out
		}
		if stop == nil {
			stop = l.clock.AfterFunc(wait, func() { close(expired) })
		}
		select {
		case <-changed:
		case <-s.wake:
			return nil
		case <-expired:
			return nil
		}
	}
}

// gated is Poll when Faults decides how long it waits.
func (s *source) gated(wait time.Duration) []*engine.Fetched {
	s.t.log.fault(s.t, Op{Kind: OpPoll, ID: s.name, Wait: wait, Ready: s.awake})
	select {
	case <-s.wake:
	default:
	}
	out, _ := s.collect()
	return out
}

// awake says whether Poll would return at once.
func (s *source) awake() bool {
	s.t.log.mu.Lock()
	defer s.t.log.mu.Unlock()
	if len(s.wake) > 0 || s.t.gone() != nil {
		return true
	}
	for _, sub := range s.subs {
		if s.ready(sub) {
			return true
		}
	}
	return false
}

// collect takes what is there for every partition, in the order of their
// names, and returns the channel that closes when more may have come.
func (s *source) collect() ([]*engine.Fetched, <-chan struct{}) {
	l := s.t.log
	l.mu.Lock()
	changed := l.changed
	if err := s.t.gone(); err != nil {
		defer l.mu.Unlock()
		return s.fail(err), changed
	}
	subs := make([]*subscription, 0, len(s.subs))
	for _, sub := range s.subs {
		if s.ready(sub) {
			subs = append(subs, sub)
		}
	}
	l.mu.Unlock()
	sort.Slice(subs, func(i, j int) bool {
		a, b := subs[i].tp, subs[j].tp
		return a.Topic < b.Topic || a.Topic == b.Topic && a.Partition < b.Partition
	})
	var out []*engine.Fetched
	for _, sub := range subs {
		f := l.fault(s.t, Op{Kind: OpFetch, TP: sub.tp})
		if f.Skip {
			continue
		}
		l.mu.Lock()
		if fetched := s.fetch(sub, f); fetched != nil {
			out = append(out, fetched)
		}
		l.mu.Unlock()
	}
	return out, changed
}

// fail stops every partition with err, so that an engine that outlived its
// crashed process comes to an end.
func (s *source) fail(err error) []*engine.Fetched {
	var out []*engine.Fetched
	for tp, sub := range s.subs {
		sub.stopped = true
		out = append(out, &engine.Fetched{TP: tp, Next: sub.next, Err: err})
	}
	clear(s.subs)
	return out
}

// ready says whether a fetch of sub would bring anything, so that faults are
// counted only for fetches that matter.
func (s *source) ready(sub *subscription) bool {
	p := s.t.log.lookup(sub.tp)
	if p == nil || sub.next < p.start || sub.next > p.end {
		return true
	}
	if sub.lent > s.t.log.cfg.FetchBytes {
		return false
	}
	limit := p.limit(sub.iso)
	if sub.next < limit {
		return true
	}
	return !sub.toldHead || sub.toldEnd != limit
}

// fetch reads one partition. It stops the partition when it fails.
func (s *source) fetch(sub *subscription, f Fault) *engine.Fetched {
	if sub.stopped || s.t.gone() != nil {
		return nil
	}
	l := s.t.log
	p := l.lookup(sub.tp)
	err := f.Err
	switch {
	case err != nil:
	case p == nil:
		err = fmt.Errorf("fetch %s/%d: %w", sub.tp.Topic, sub.tp.Partition, ErrUnknownTopic)
	case sub.next < p.start || sub.next > p.end:
		err = engine.ErrOffsetOutOfRange
	}
	out := &engine.Fetched{TP: sub.tp, Next: sub.next, Err: err}
	if p != nil {
		out.LogStart, out.End = p.start, p.limit(sub.iso)
	}
	if err != nil {
		sub.stopped = true
		delete(s.subs, sub.tp)
		return out
	}
	// A last stable offset may lie before next when a foreign transaction was
	// opened below it; then there is nothing to read until it ends.
	if sub.next < out.End {
		out.Records, out.Next = p.read(sub.next, sub.iso, l.cfg.FetchRecords, l.cfg.FetchBytes)
	}
	for i := range out.Records {
		out.Bytes += size(&out.Records[i])
	}
	sub.next = out.Next
	sub.lent += out.Bytes
	sub.toldHead = true
	if sub.next >= out.End {
		sub.toldEnd = out.End
	}
	s.lent[out] = sub
	return out
}

func (s *source) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Release panics on a second release of the same fetch: the bytes would be
// counted twice and memory would no longer be bounded.
func (s *source) Release(f *engine.Fetched) {
	s.t.log.mu.Lock()
	defer s.t.log.mu.Unlock()
	sub, ok := s.lent[f]
	if !ok {
		if f.Err != nil {
			return
		}
		panic(fmt.Sprintf("memlog: fetch of %s/%d released twice", f.TP.Topic, f.TP.Partition))
	}
	delete(s.lent, f)
	sub.lent -= f.Bytes
}

func (s *source) Close() {
	s.t.log.mu.Lock()
	for _, sub := range s.subs {
		sub.stopped = true
	}
	clear(s.subs)
	s.t.log.mu.Unlock()
	s.Wake()
}
