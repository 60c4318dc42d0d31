// Package upgrade says what a changed pipeline means for what an earlier form
// of it has left: it keeps the plan that a pipeline runs in a topic of the
// pipeline's own, compares another plan with it, and decides what goes on, what is
// built anew and what must be refused. It knows plans, and topics through the
// engine's ports; it knows nothing of commands or of how things are printed.
package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"streamctl/pipeline"
)

// Format is the version of the recorded form. A record of a later one is
// refused; of an earlier one it is read.
const Format = 1

// ErrVersion: the record was written by a later version of this program.
var ErrVersion = errors.New("recorded by a later version of streamctl")

// Record is the plan that a pipeline runs, or ran last.
type Record struct {
	Format  int       `json:"format"`
	Version string    `json:"version"` // of the program that wrote it
	At      time.Time `json:"at"`
	// Plan is what runs. Its Text is for people.
	Plan *pipeline.Description `json:"plan"`
	// Topics are the partition counts of the outer topics that are read, and of
	// the pipeline's own.
	Topics map[string]int32 `json:"topics"`
	// State names, for each table, the rows that belong to it: another name,
	// other rows. Gone tables are in it, too, for their topics may still be there.
	State map[string]TableState `json:"state"`
	// Rewound: the repartition topics have been emptied since this plan ran.
	Rewound bool `json:"rewound,omitempty"`
}

// TableState says which rows a table's are.
type TableState struct {
	// Number grows each time the table begins anew.
	Number int `json:"number"`
	// Gone is the last description of a table that the plan has no more.
	Gone *pipeline.TableDescription `json:"gone,omitempty"`
	// Clearing: its rows are being deleted, changelogs and offsets, too. Whoever
	// reads this finishes that before anything runs.
	Clearing *Clearing `json:"clearing,omitempty"`
	// Cleared: they have been deleted, by that or by a rewind. What the next plan
	// says of the table is no change.
	Cleared bool `json:"cleared,omitempty"`
}

// Clearing says what has to go with a table's rows.
type Clearing struct {
	Topics []string `json:"topics,omitempty"` // to be deleted
	Forget []string `json:"forget,omitempty"` // topics whose committed offsets go
}

// Marks gives the names of the rows of all tables of the plan.
func (r *Record) Marks() map[string]string {
	out := make(map[string]string, len(r.Plan.Tables))
	for _, t := range r.Plan.Tables {
		mark := strconv.Itoa(r.State[t.Name].Number)
		out[t.Name] = mark
		if t.Kind == pipeline.RekeyedTable {
			out[pipeline.KeysTable(t.Name)] = mark
		}
	}
	for _, s := range r.Plan.Subs { // states beside a table are as old as that
		for _, name := range s.Tables {
			mark, ofTable := out[pipeline.TableOf(name)]
			if _, own := out[name]; ofTable && !own {
				out[name] = mark
			}
		}
	}
	return out
}

// Encode writes the record; equal records give equal bytes.
func (r *Record) Encode() ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode recorded plan: %w", err)
	}
	return text, nil
}

// Decode reads a record. ErrVersion: it cannot be judged here.
func Decode(text []byte) (*Record, error) {
	var head struct {
		Format  int    `json:"format"`
		Version string `json:"version"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("read recorded plan: %w", err)
	}
	if head.Format > Format {
		return nil, fmt.Errorf("read recorded plan: its format is %d, this program knows %d: %w (%s); run that version, or a later one",
			head.Format, Format, ErrVersion, head.Version)
	}
	r := new(Record)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read recorded plan: %w", err)
	}
	if r.Format < 1 || r.Plan == nil {
		return nil, errors.New("read recorded plan: it is no plan")
	}
	return r, nil
}

// table finds a table of a plan.
func table(d *pipeline.Description, name string) *pipeline.TableDescription {
	i := slices.IndexFunc(d.Tables, func(t pipeline.TableDescription) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	return &d.Tables[i]
}
