package differential

import (
	"encoding/json"
	"math/rand/v2"

	"streamctl/internal/codec"
	"streamctl/internal/testkit/model"
)

// firstTime is the event time of the first record, ms.
const firstTime = 1_700_000_000_000

// Some days before clocks are changed, ms: they go forward in Europe, forward in
// Chile, at midnight, and back in Europe and North America.
const (
	europeForward = 1_711_200_000_000
	chileForward  = 1_725_163_200_000
	back          = 1_729_468_800_000
)

// drawInput draws records for the topics of a pipeline: few keys, times that are
// equal, out of order, late, and jump; nulls and tombstones.
func drawInput(r *rand.Rand, p *pipe, partitions int32) []model.Record {
	topics := p.topics()
	now := int64(firstTime)
	step := pick(r, int64(1), 1000, 60_000)
	if p.wide {
		now, step = pick(r, int64(europeForward), chileForward, back), pick(r, int64(900_000), 3_600_000, 20_000_000)
	}
	var records []model.Record
	for len(records) < 15+r.IntN(45) {
		d := topics[r.IntN(len(topics))]
		for range 1 + r.IntN(4) {
			switch r.IntN(12) {
			case 0, 1, 2: // at the same time
			case 3:
				now += 30 * step
			case 4:
				if r.IntN(4) == 0 && !p.wide {
					now += 1000 * step
				}
			default:
				now += r.Int64N(2*step) + 1
			}
			at := now
			if r.IntN(5) == 0 {
				at -= r.Int64N(20 * step)
			}
			records = append(records, drawRecord(r, d, at, partitions))
		}
	}
	return records
}

func drawRecord(r *rand.Rand, d *def, at int64, partitions int32) model.Record {
	rec := model.Record{Topic: d.topic, Time: max(at, 0)}
	key := string(rune('a' + r.IntN(4)))
	if d.isTable() || r.IntN(25) > 0 {
		rec.Key = []byte(key)
		rec.Partition = codec.Partition(rec.Key, partitions)
	}
	none := 30
	if d.isTable() {
		none = 6
	}
	if r.IntN(none) == 0 {
		return rec
	}
	if d.queries {
		row := map[string]any{"query": drawQuery(r, r.IntN(3))}
		if r.IntN(20) == 0 {
			row["query"] = nil
		}
		rec.Value, _ = json.Marshal(row)
		return rec
	}
	row := drawRow(r)
	if d.byField {
		drawTime(r, &rec, row)
	}
	if d.isTable() { // rows of a table that has its key in the value are not fought for
		if row["k"] != nil {
			row["k"] = key
		}
		if row["g"] != nil {
			row["g"] = int(key[0] - 'a')
			// A key that moves between partitions comes to its reader in no order.
			if partitions == 1 && r.IntN(3) == 0 {
				row["g"] = int(key[0]-'a') + 10
			}
		}
	}
	var doc any = row
	if d.has("envelope: old_new") {
		doc = map[string]any{"old": nil, "new": row}
		if r.IntN(8) == 0 {
			doc = map[string]any{"old": row, "new": nil}
		}
	}
	rec.Value, _ = json.Marshal(doc)
	return rec
}

// drawTime puts the time into the row, where it may be missing, and gives the record another one.
func drawTime(r *rand.Rand, rec *model.Record, row map[string]any) {
	row["at"] = rec.Time
	switch r.IntN(20) {
	case 0:
		delete(row, "at")
	case 1:
		row["at"] = -1
	}
	rec.Time = firstTime + r.Int64N(1_000_000)
}

// drawRow draws a value: each field is null or absent now and then.
func drawRow(r *rand.Rand) map[string]any {
	row := map[string]any{}
	for _, f := range rowFields() {
		switch r.IntN(14) {
		case 0:
			row[f.name] = nil
			continue
		case 1:
			continue
		}
		switch f.kind {
		case aList:
			list := []any{}
			for range r.IntN(4) {
				list = append(list, map[string]any{"a": r.IntN(4), "c": string(rune('a' + r.IntN(3)))})
			}
			row[f.name] = list
		case anInt:
			row[f.name] = r.IntN(7) - 2
			if f.name == "g" {
				row[f.name] = r.IntN(3)
			}
		case aFloat:
			row[f.name] = float64(r.IntN(17)-8) / 4
		case aText:
			row[f.name] = string(rune('a' + r.IntN(3)))
		case aBool:
			row[f.name] = r.IntN(2) == 0
		}
	}
	return row
}

// has says that a definition has a clause of one line.
func (d *def) has(line string) bool {
	for _, c := range d.clauses {
		if c.lines[0] == line {
			return true
		}
	}
	return false
}
