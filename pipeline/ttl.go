package pipeline

import (
	"fmt"
	"time"

	"streamctl/internal/diag"
)

// `ttl` on a table: rows that are not updated for that long of stream time are
// deleted. Rows then have their event time in them (typedDef.timed), and the
// table's operator watches over it (operators/expiry.go). A table that a topic holds
// deletes its own copy only; how that agrees with a restore is in ADR 0061.

const (
	// codeTTL: rows of the table cannot expire.
	codeTTL diag.Code = "ttl"
)

// minTTL is the least ttl: event times are in milliseconds.
const minTTL = time.Millisecond

// ttlOf is what a definition says of ttl.
func (d *Def) ttlOf() Text {
	switch {
	case d.Kind == TopicTableDef:
		return d.Table.TTL
	case d.Kind == DerivedTableDef:
		return d.Query.TTL
	}
	return Text{}
}

// lifetime resolves how long rows stay that are not updated, and refuses tables
// whose rows have another end.
func (r *resolver) lifetime(d *Def) {
	t := d.ttlOf()
	if !t.Set {
		return
	}
	d.TTL = r.duration(t, 0, minTTL, maxDuration)
	refuse := func(at diag.Span, why, help string) {
		r.list.Add(diag.Errorf(codeTTL, t.Span, "table %q cannot have a ttl: %s", d.Name, why).
			WithNote(at, "so it is written here").WithHelp("%s", help))
	}
	switch {
	case d.Kind == TopicTableDef && d.Table.Versioned.Set:
		refuse(d.Table.Versioned.Span, "it keeps its history, and a row ends with it", "leave one of the two out")
	case d.Kind == TopicTableDef:
	case d.Query.Top != nil:
		refuse(d.Query.Top.Span, "its rows are those of the table that it reads", "give the ttl to that table: what goes there goes here")
	case d.Query.Window != nil:
		refuse(d.Query.Window.Span, "a window has an end of its own", fmt.Sprintf("leave ttl out: windows are deleted once they are closed; to keep their rows longer, read them: `NAME: {from: %s, ttl: %s}`", d.Name, t.Value))
	case d.Query.Emit != nil && d.Query.Emit.Every.Set:
		refuse(d.Query.Emit.Span, "its changes wait to be sent", "keep the table without emit, and coalesce in a table that reads it")
	}
}

// checkTTL refuses groups of rows that can still be taken out when the group is gone.
func (c *compiler) checkTTL(d *Def) {
	td := c.typed[d]
	if d.TTL == 0 {
		return
	}
	if d.Kind == DerivedTableDef && !d.materialized() && td.changes {
		c.diags.Errorf(codeTTL, d.ttlOf().Span, "table %q cannot have a ttl: it groups the rows of a table, which would be taken out of a group that is gone", d.Name).
			Help = fmt.Sprintf("give the ttl to %q: its rows that go are taken out of their groups", d.From[0].Def.Name)
		return
	}
	if d.Kind == TopicTableDef || d.materialized() {
		td.timed = true
	}
}

// ttlLine tells in canonical texts how long rows stay.
func (d *Def) ttlLine() string {
	return fmt.Sprintf("rows stay %s behind their last update", formatDuration(d.TTL))
}
