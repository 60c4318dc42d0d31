package kafka

import "time"

// How partitions are read by a restore that are far behind. One request at
// a time and 1 MiB of each partition keep a running task supplied; a restore, which
// takes everything at once, would wait for the broker after every answer. There
// more is asked for with each request, and half of such partitions go to a
// second connection: while an answer on one is decoded, the other is filled.

// lanes is how many connections to a broker read partitions that are behind.
const lanes = 2

// maxEager is how much is asked for of a partition whose owner takes all at
// once, as a multiple of Settings.BufferPartitionBytes. Half of that reads a topic
// a fifth slower.
const maxEager = 2

// judge looks whether the owner of a partition has taken all that was fetched
// before the answer that has just come: then it is the fetch that he waits for.
// mu is held.
func (p *fetchPart) judge(most int) {
	switch {
	case !p.rush || p.next >= p.end:
		p.eager = 0
	case p.held == 0:
		p.eager = min(max(2*p.eager, 2*p.ask), max(most, p.ask))
	default:
		if p.eager /= 2; p.eager <= p.ask {
			p.eager = 0
		}
	}
}

// most is how many records, about, are left of that partition of which most are, among
// those that a restore reads. mu is held.
func (s *source) most() (records int64) {
	for _, p := range s.parts {
		if p.rush && p.loop != nil && p.end >= 0 {
			records = max(records, p.end-p.next)
		}
	}
	return records
}

// aheadPause is how long a partition that is ahead waits for those behind before more of it
// is asked for: not for ever, as they may get nothing at all.
const aheadPause = 20 * time.Millisecond

// fewRecords is by how many records a partition may be ahead in any case.
const fewRecords = 4096

// ahead is how long to wait before more of p is asked for, because p is a little further than
// one of which most records are left: so both are done at the same time. The last one
// would be read alone, by one goroutine after the other. Of which
// far less is left is not held up for others. mu is held.
func (p *fetchPart) ahead(most int64, now time.Time) time.Duration {
	left := p.end - p.next
	if !p.rush || left <= most/2 || left >= most-max(most/32, fewRecords) {
		return 0
	}
	return max(0, min(p.answered.Add(aheadPause).Sub(now), catchUpWait))
}

// room says whether more of a partition may be fetched. mu is held.
func (s *source) room(p *fetchPart) bool {
	set := &s.c.set
	return p.held == 0 || s.held < set.BufferBytes && (p.held+p.ask <= set.BufferPartitionBytes || p.held <= p.eager)
}

// spread moves a partition to the other connection where that carries less, and
// back when it has caught up. It must not be part of a request under way. mu is held.
func (l *fetchLoop) spread(p *fetchPart) {
	if p.loop != l || p.stopped {
		return
	}
	key := l.key
	switch behind := p.eager > 0 && p.next < p.end; {
	case key.lane > 0 && p.next >= p.end:
		key.lane = 0
	case behind && key.lane == 0:
		least, load := int8(0), l.eager()-1
		for lane := int8(1); lane < lanes; lane++ {
			other := l.s.loops[loopKey{key.addr, key.iso, lane}]
			if n := other.eager(); n < load {
				least, load = lane, n
			}
		}
		key.lane = least
	}
	if key != l.key {
		delete(l.parts, p)
		l.s.enter(p, key)
	}
}

// eager counts the partitions that are read faster than they come. mu is held.
func (l *fetchLoop) eager() (n int) {
	if l == nil {
		return 0
	}
	for p := range l.parts {
		if p.eager > 0 {
			n++
		}
	}
	return n
}
