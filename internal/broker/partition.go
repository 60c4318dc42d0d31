package broker

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// partition is the log of one partition as it lies on disk, while it is mended.
type partition struct {
	dir   string
	base  int64 // of the last segment
	end   int64 // offset after the last batch
	epoch int32 // leader epoch of the last batch
	open  map[int64]int16
}

// snapshot is what the server writes of a partition when it stops in an orderly way.
type snapshot struct {
	HighWatermark    int64 `json:"high_watermark"`
	LastStableOffset int64 `json:"last_stable_offset"`
	Epoch            int32 `json:"epoch"`
	Segments         []struct {
		Base int64 `json:"base_offset"`
		Size int64 `json:"size"`
	} `json:"segments"`
}

func readSnapshot(dir string) (*snapshot, error) {
	data, err := os.ReadFile(filepath.Join(dir, "snapshot.json"))
	if err != nil {
		return nil, err
	}
	s := new(snapshot)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, err
	}
	return s, nil
}

// covers tells whether nothing was written since the snapshot and no
// transaction was open in it.
func (s *snapshot) covers(dir string, bases []int64) bool {
	if len(s.Segments) != len(bases) || s.LastStableOffset != s.HighWatermark {
		return false
	}
	for i, seg := range s.Segments {
		stat, err := os.Stat(segmentPath(dir, seg.Base, ".dat"))
		if err != nil || seg.Base != bases[i] || stat.Size() != seg.Size {
			return false
		}
	}
	return true
}

// openPartition reads where a partition ends and which transactions are open
// in it, mends the ends of its files, and gives a partition without any batch
// its old end back, which is the server's snapshot's or, after a kill, at least floor.
func openPartition(dir string, floor int64) (*partition, error) {
	p := &partition{dir: dir, open: make(map[int64]int16)}
	bases, err := segments(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if len(bases) > 0 {
		p.base = bases[len(bases)-1]
	}
	snap, err := readSnapshot(dir)
	if err == nil {
		if len(bases) > 0 && snap.covers(dir, bases) {
			p.end, p.epoch = snap.HighWatermark, snap.Epoch
			return p, nil
		}
		floor = max(floor, snap.HighWatermark)
	}
	for _, base := range bases {
		if err := p.readSegment(base); err != nil {
			return nil, err
		}
	}
	if p.end > 0 || floor == 0 {
		return p, nil
	}
	for _, base := range bases { // they hold nothing, and their names would mislead
		if err := errors.Join(os.Remove(segmentPath(dir, base, ".dat")), os.RemoveAll(segmentPath(dir, base, ".idx"))); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, err
	}
	p.base, p.end = floor-1, floor-1
	return p, p.appendMarker(idempotentID, -1, false)
}

func (p *partition) readSegment(base int64) error {
	var missing []byte // index entries of the batches beyond the index
	idx := segmentPath(p.dir, base, ".idx")
	var have int64
	if stat, err := os.Stat(idx); err == nil {
		have = stat.Size() / indexEntry
	}
	n := int64(0)
	dat := segmentPath(p.dir, base, ".dat")
	whole, err := eachBatch(dat, func(b batchInfo) {
		if n++; n > have {
			missing = append(missing, indexBytes(b.leaderEpoch, b.txn && !b.control)...)
		}
		p.end, p.epoch = b.end, b.leaderEpoch
		switch {
		case b.control:
			delete(p.open, b.pid)
		case b.txn:
			p.open[b.pid] = b.pidEpoch
		}
	})
	if err != nil {
		return err
	}
	if err := os.Truncate(dat, whole); err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	if have > 0 {
		if err := os.Truncate(idx, min(have, n)*indexEntry); err != nil {
			return err
		}
	}
	return appendFile(idx, missing)
}

// appendMarker ends the transaction of a producer in this partition.
func (p *partition) appendMarker(pid int64, epoch int16, commit bool) error {
	if p.end == 0 && p.base == 0 {
		if err := os.MkdirAll(p.dir, dirMode); err != nil {
			return err
		}
	}
	marker := markerBytes(p.end, time.Now().UnixMilli(), pid, epoch, commit)
	if err := appendFile(segmentPath(p.dir, p.base, ".dat"), marker); err != nil {
		return err
	}
	p.end++
	delete(p.open, pid)
	return appendFile(segmentPath(p.dir, p.base, ".idx"), indexBytes(p.epoch, false))
}
