package operators

// Kind describes one operator to people: the operator reference is made of it.
type Kind struct {
	Name    string
	Clause  string // how a pipeline asks for it
	Summary string
	Rules   []string // what it holds to
	State   bool     // it keeps a table
	Drops   []string // reasons with which it may drop records
}

// All lists the operators in the order in which records meet them. It is not changed.
var All = []Kind{
	{
		Name: "source", Clause: "`sources:`",
		Summary: "reads a topic as a stream of facts",
		Rules: []string{
			"Key and value are decoded by `key_format` and `format`. Only the fields that some expression uses are read; the whole document is checked.",
			"Event time is `timestamp`, else the record's own. Null, negative, or more than `max_ahead` past the wall clock: the record is an error.",
			"Where a join or a `group_by` relies on the partitions of the topic, and always under `partitioned_by`, records are checked: one that Kafka's default partitioner would have put elsewhere is an error. Where the record key decides, all are; where a value does, the first 100 of every partition and every 1024th after.",
			"A null value stays null; a join and a `group_by` drop it.",
		},
		Drops: []string{ReasonInvalidKey, ReasonInvalidValue, ReasonWrongType, ReasonTimestamp, ReasonAhead, ReasonWrongPartition, ReasonGap},
	},
	{
		Name: "table", Clause: "`tables:` with `topic:`", State: true,
		Summary: "keeps the last row per key of a topic",
		Rules: []string{
			"A null value deletes the row; so does a row that is null behind `envelope` or `value`.",
			"`envelope: old_new`: the row is `new`. `envelope: debezium`: the row is `after`, with or without the schema around it; `op: d` deletes. Expressions see the row as it is after the change, of a deletion as it was before.",
			"A table whose key is the record key is read straight from its topic, which is its changelog. So is one whose `key` is the topic's `partitioned_by`, if the record key alone decides it.",
			"A row with a null key is an error.",
		},
		Drops: []string{ReasonInvalidKey, ReasonInvalidValue, ReasonWrongType, ReasonTimestamp, ReasonAhead, ReasonWrongPartition, ReasonNullKey, ReasonExpression, ReasonGap},
	},
	{
		Name: "rekey", Clause: "`tables:` with `key:`, by the compiler", State: true,
		Summary: "writes the rows of a table under its own key to the table's changelog",
		Rules: []string{
			"The changelog is a compacted topic of the pipeline's own, `<pipeline>.<table>.changelog`; deletions pass.",
			"Where the key depends on the value, the key of each record key is remembered in `<table>.rekey`: a changed key deletes the old row, and a deletion finds its row although it has no value.",
		},
		Drops: []string{ReasonInvalidKey, ReasonInvalidValue, ReasonWrongType, ReasonTimestamp, ReasonAhead, ReasonNullKey, ReasonExpression},
	},
	{
		Name: "union", Clause: "`from: [a x, b x]`",
		Summary: "takes the records of several streams as one",
		Rules: []string{
			"Operators behind it exist once per input until a repartition brings the inputs together, so that a union costs nothing.",
			"Each input is lined up for a join or a `group_by` by itself: one may be repartitioned and another not.",
		},
	},
	{
		Name: "unnest", Clause: "`unnest: LIST as ALIAS`",
		Summary: "makes of each record one for every element of a list",
		Rules: []string{
			"The records have the key, the time and the fields of the one that they come from; `ALIAS` is the element, whatever it is, `ALIAS_index` its position from 0.",
			"A null element is one. Null or an empty list gives no record: it is counted. What is neither null nor a list is an error of the record, an element that is not of its declared type one of that element alone.",
			"A null value is dropped and counted.",
			"A window that is final can be taken apart: its elements are facts, although it is a table's.",
		},
		Drops: []string{ReasonEmptyList, ReasonNullValue, ReasonWrongType, ReasonExpression},
	},
	{
		Name: "filter", Clause: "`where:`",
		Summary: "hands on the records for which a condition holds",
		Rules: []string{
			"Null counts as false.",
			"A condition that names a joined table is decided behind the joins, any other one before.",
			"Of a table's changes: a row that stops to qualify goes on as a deletion, one that never did not at all.",
		},
		Drops: []string{ReasonExpression},
	},
	{
		Name: "repartition", Clause: "by the compiler, where records do not lie by the key that is needed",
		Summary: "brings records with equal keys into one partition",
		Rules: []string{
			"Through a topic of the pipeline's own: `<pipeline>.<stream>-<table>.repartition` before a join, `<pipeline>.<table>.repartition` before a `group_by`. Records are deleted from it once they are processed.",
			"The record's own key, headers and origin travel along: a sink without `key` and a dead letter know nothing of the detour.",
			"The partition follows the key as the other side writes it, so that own and outer topics line up.",
			"Stream time behind it is the least of the tasks that write the topic, if anything behind it asks for time: each record tells its sender's, and a task tells all partitions behind it when its own has moved. A task that has had nothing is not waited for, one that gets nothing until it is idle.",
		},
		Drops: []string{ReasonNullKey, ReasonNullValue, ReasonExpression},
	},
	{
		Name: "join", Clause: "`join:` with `inner` or `left`",
		Summary: "finds for each record of a stream the row of a table by its key",
		Rules: []string{
			"Only the stream triggers; a later change of the table emits nothing. Output time is the stream record's.",
			"Keys are equal as values: 1234 and 1234.0 are, 1234 and \"1234\" are not.",
			"A null key: dropped and counted by an inner join, emitted unmatched by a left one. A null value is dropped and counted by both.",
			"A record whose key has no row: dropped and counted by an inner join, joined with nulls by a left one.",
		},
		Drops: []string{ReasonNullKey, ReasonNullValue, ReasonNoMatch, ReasonExpression},
	},
	{
		Name: "replica", Clause: "`tables:` with `replicate: true`, by the compiler", State: true,
		Summary: "gives every task all rows of a small table",
		Rules: []string{
			"A step reads the table's topic and writes each row to every partition of `<pipeline>.<stream>-<table>.replica`, a compacted topic with the partitions of the stream. To a task that is the table's changelog: first load, restore and standbys are as for any table.",
			"Streams join it by its key, or `match` its queries, as they lie. Its changes are not told: every task would tell them.",
		},
		Drops: []string{ReasonInvalidKey, ReasonInvalidValue, ReasonWrongType, ReasonTimestamp, ReasonAhead, ReasonNullKey, ReasonExpression},
	},
	{
		Name: "as-of join", Clause: "`join:` with `as_of: true`, of a table with `versioned:`", State: true,
		Summary: "finds for each record of a stream the row that a table had at the record's time",
		Rules: []string{
			"The table keeps its rows by key and event time, in order of time whatever the order in which they came, with a changelog of its own. The row of the same millisecond counts; so does a deletion.",
			"A record older than stream time less `versioned` finds nothing. Of each key the last row before that is kept; older ones leave state and changelog.",
			"With `grace` a record waits, in `<stream>-<table>.wait`, until stream time less `grace` is its time or later, and goes on in the order of time, at equal times in that of coming. One that is so late when it comes goes on at once. For what stands behind, time runs `grace` later.",
			"Null keys, null values and missing rows are dealt with as by a join.",
		},
		Drops: []string{ReasonNullKey, ReasonNullValue, ReasonNoMatch, ReasonExpression},
	},
	{
		Name: "table join", Clause: "`join:` of tables, by their primary keys",
		Summary: "joins the rows that two or more tables have for a key",
		Rules: []string{
			"A change of any table looks up the others, which lie in the same task, and sends the result again. It keeps no state of its own.",
			"From left to right by the key that all share: `inner` needs both, `left` what stands before, `outer` one of them.",
			"A deletion is sent only where there was a result. A result knows what it replaces, so that aggregates over it can take that back.",
			"Its time is the greatest of the rows that it is made of, of a deletion the greatest of the change and the rows that were joined.",
			"Of aggregated tables the rows count that `having` lets through, as their changes have told them.",
		},
		Drops: []string{ReasonExpression},
	},
	{
		Name: "foreign-key join", Clause: "`join:` of tables, by any other expression of the left row", State: true,
		Summary: "joins each row of a table with the row of another one that it refers to",
		Rules: []string{
			"The left side asks for the row in `<pipeline>.<table>-<other>.subscriptions`; the right side answers, now and at each change of the row, in `<pipeline>.<table>-<other>.answers`. What is asked for is kept on both sides.",
			"A left row numbers its foreign keys: an answer counts if it carries the number and the key that are asked for now. A change that keeps the foreign key is joined at once.",
			"While the answer for a changed foreign key is awaited, the result stands. A deletion is sent only where there was a result.",
			"A null foreign key refers to nothing: no result of `inner`, nulls for `left`.",
			"In the end the result is the join of the tables, whatever the order in which the tasks come to their work.",
		},
		Drops: []string{ReasonInvalidKey, ReasonInvalidValue, ReasonExpression},
	},
	{
		Name: "materialize", Clause: "`tables:` with `from:` and without `group_by:`", State: true,
		Summary: "keeps the changes of a table as a table of its own, under the same key",
		Rules: []string{
			"Rows are kept as JSON, as `select` makes them, with the changelog `<pipeline>.<table>.changelog`.",
			"Every change of a row is told, also one that leaves it as it was. The deletion of a row that is not there is none.",
		},
		Drops: []string{ReasonExpression, ReasonWrongType},
	},
	{
		Name: "stream join", Clause: "`join:` with a stream and `within`, or `before` and `after`", State: true,
		Summary: "finds for each record of a stream those of another one that have its key and lie near it in time",
		Rules: []string{
			"Both sides trigger: a record meets all of the other side that have come before it. Bounds are inclusive: the right record lies at most `before` before the left one, and at most `after` behind it; `within` is both.",
			"A pair's time is the greater one of the two; it has the left record's key and headers, and its origin for dead letters. The pairs of one record leave in the order of the partners' times, and of their coming where times are equal.",
			"A record is joined as long as stream time has not passed its time + bound + `grace`, where the bound is how much later a partner may lie: `after` of a left record, `before` of a right one. One that comes later is dropped and counted, and one that is older does not match any more. `grace` is 0 by default: a left join then gives its unmatched rows as soon as can be.",
			"An unmatched record of an outer side leaves once, with nulls for the other side, when stream time has passed its time + bound + `grace`, in the order in which that happens, whatever steps stream time takes; its time is its own. It never matches afterwards. One of an inner side is dropped, and counted when it is deleted from the state.",
			"What is behind the join does not take such rows for late: stream time there runs behind by as much as rows are held back, also behind a repartition.",
			"A null key: dropped and counted on an inner side, sent on unmatched at once on an outer one. A null value is dropped and counted.",
			"A stream that is joined with itself pairs every record with itself too, once.",
			"State: `<stream>-<other>.join`, records of a key and a stretch of time together, with its changelog. Records that nothing can match any more are deleted, with tombstones, a few for every record that comes.",
		},
		Drops: []string{ReasonNullKey, ReasonNullValue, ReasonLate, ReasonNoMatch, ReasonExpression},
	},
	{
		Name: "match", Clause: "`match:`", State: true,
		Summary: "finds for each document the stored queries that it satisfies",
		Rules: []string{
			"Every document goes on once, with the keys of all queries that it satisfies in `matched_keys`, in order; where there are none the list is empty.",
			"The queries are those that the table has when the document's turn comes: tables first at the first start, by event time from then on. A later query finds no earlier document.",
			"Queries stay in the partitions of their table, and are kept in memory there, under terms that a document must have; a document goes to all partitions through `<pipeline>.<stream>.documents`, what is found there through `<pipeline>.<stream>.parts`, and its parts are kept in `<stream>.match` until the last one is there.",
			"Documents that came from one task leave in the order in which they came.",
			"The queries of a table with `replicate: true` are in every task: documents are matched where they are, and go on as they came, without a topic in between. Rows without a query are told of where the table's topic is read.",
			"A row whose query is null or cannot be read is an error of the table's record, and has no query until it is changed.",
			"A null text is searched as an empty one. A null value is dropped and counted.",
		},
		Drops: []string{ReasonNullValue, ReasonInvalidQuery, ReasonWrongType, ReasonExpression},
	},
	{
		Name: "dedup", Clause: "`dedup:` with `by` and `within`", State: true,
		Summary: "hands on the first record of each key and drops those that lie near it in time",
		Rules: []string{
			"First is what comes first. A record is a duplicate when its event time lies at most `within` before or behind that of one of its key that was handed on; it is dropped and counted, and does not count for those that follow: after a record every `within` and a bit one more goes on.",
			"A record that was handed on is remembered until stream time has passed its time + twice `within`, so that records which come late by up to `within` are decided rightly. One that is later still passes when its first has been forgotten.",
			"Nulls are equal to nothing: a record with a null key goes on. A null value is dropped and counted.",
			"State: `<stream>.dedup`, a row per key and stretch of time, with its changelog; old ones are deleted, with tombstones, a few for every record that comes.",
		},
		Drops: []string{ReasonDuplicate, ReasonNullValue, ReasonExpression},
	},
	{
		Name: "project", Clause: "`select:`",
		Summary: "makes a new value of fields that pass through and of computed ones",
		Rules: []string{
			"What a spread passes on is not touched: unknown fields, number texts and order stay byte for byte.",
			"Later entries win over earlier ones of the same name.",
			"A computed column is evaluated at most once per record, and not at all where nobody reads it. What depends on a joined row only is kept with that row.",
			"A record is an error of the definition whose column fails, whoever reads it, be that a computed column, a path that leads through what is no object or list, or a spread of what is no object. Of a path that goes on where an earlier `select` has stopped, each answers for its own steps. What nobody reads does not fail.",
		},
		Drops: []string{ReasonExpression, ReasonWrongType},
	},
	{
		Name: "aggregate", Clause: "`tables:` with `group_by:`", State: true,
		Summary: "keeps aggregates per group of a stream's records, or of a table's rows",
		Rules: []string{
			"Every record that reaches a group sends the group on. Its time is the greatest of the group's records.",
			"`count()` counts records, `count(x)` those where x is not null. The others leave nulls out. A record that cannot be taken into one aggregate, for an overflow, a limit, or a wrong type, is an error and changes none.",
			"Of a table's changes, the old row is taken out of its group and the new one added to its own; where both are one group, it is sent once. A group that no row is in has a count of 0; where `having` excludes it, it is deleted and forgotten.",
			"`having` decides which groups those behind see: one that stops to qualify goes on as a deletion, one that never did not at all. Joins do not find what it excludes.",
			"`emit: {every: 1s}` sends of each group that has changed its last state, that often by the wall clock. What is still to be sent is part of the group's row; after a restart it is found there.",
			"A record that updates a table and is joined with it meets the updated row.",
			"A null group key or a null value is dropped and counted.",
		},
		Drops: []string{ReasonNullKey, ReasonNullValue, ReasonExpression},
	},
	{
		Name: "top", Clause: "`top:`", State: true,
		Summary: "gives out the first rows of each group of a table",
		Rules: []string{
			"All rows are kept, in order: a row moves up when another leaves. Only rows that have changed, or whose rank has, go on; one that falls out goes on as a deletion.",
			"Rows with equal values share a rank, and the next rank is left out: 1, 2, 2, 4. The smaller key comes first, and decides who is in where not all can be: there are never more than `n`. A null value comes last, in either order.",
			"The key is that of the table where it decides the group; else the group stands before it, for a row that moves to another group goes and comes as two.",
			"With `list` a group is one row, whose key is the group: the list of its first rows, in order.",
			"The rows of a group meet in one task, through `<pipeline>.<table>.repartition` where they do not lie so. The changes travel with the row as it was and as it is.",
			"A row whose group is null is in none: it is counted.",
			"The time of a row that goes on is the greater one of its own and of the change that has moved it.",
		},
		Drops: []string{ReasonNullKey, ReasonExpression, ReasonWrongType},
	},
	{
		Name: "ttl", Clause: "`ttl:` on a table",
		Summary: "deletes the rows of a table that have not been updated for some time",
		Rules: []string{
			"A row of time t is deleted when t + `ttl` <= stream time, before the record that moves stream time there is processed. Rows that are over together go in the order of their times, then of their keys; the time of such a deletion is t + `ttl`.",
			"The time of a row is that of the record that wrote it last, of a group the greatest of its records.",
			"A row that is over when it comes is counted and not kept; if there is a row of its key, that is deleted.",
			"A deletion goes to the changelog, and to those behind. The topic that a table is read from stays as it is: what a restore reads there that is over already is left out.",
		},
		Drops: []string{ReasonExpired},
	},
	{
		Name: "window", Clause: "`window:` with `group_by:`", State: true,
		Summary: "cuts the groups of a table by event time",
		Rules: []string{
			"`tumbling` and `hopping`: [start, end), aligned to the epoch, or to `align`, `timezone` and `offset`. `session`: from the first to the last record; the gap is inclusive. `sliding`: both ends inclusive, for each record the window that ends with it and the one that begins behind it (KIP-450).",
			"A window closes when its end + `grace` <= stream time, before the record that moves stream time there is processed; a session and a sliding window, whose ends are inclusive, when end (+ gap) + `grace` < stream time.",
			"A record is late when all its windows are closed: it is counted, and with `late: dead_letter` goes to the dead letters, with `late: NAME` to a stream. One of which some windows are open counts in these.",
			"The key is a list: the components of the group key, and the start of the window. Rows lie by the group key.",
			"A session that grows keeps its key while its start is the same. A record that joins two sessions, or comes before the first of one, makes rows go: their deletions leave before the new row.",
			"`emit: final` gives each window once, when it closes, in the order in which windows close; then of their starts and keys. A jump of stream time over many windows gives all of them, and for what stands behind time moves from one to the next.",
			"`emit: {every: 1s}` sends of each window that has changed its last row, that often by the wall clock, and what is left when it closes. What is still to be sent is part of the row, as with groups.",
			"Closing a window sends nothing else: its row leaves state and changelog, with a tombstone there, and stays true.",
			"The time of a row is the greatest of its records.",
			"State: a row per key and window; of sessions and sliding windows a row per key, and one that says when it is due. Sliding windows are remembered for another two sizes, because those of later records are made from them.",
		},
		Drops: []string{ReasonNullKey, ReasonNullValue, ReasonLate, ReasonExpression},
	},
	{
		Name: "sink", Clause: "`sinks:`",
		Summary: "writes a stream, or the changes of a table, to a topic",
		Rules: []string{
			"The key is `key`, else the record's own (of a table: the table's), written by `key_format`.",
			"A record whose key is the one its partition follows stays in its partition where both topics have equally many; any other goes where Kafka's default partitioner puts it.",
			"Time is the event time; headers pass.",
			"The deletion of a row is written as a null value.",
			"A result above the `max.message.bytes` of the topic is an error of the record. Of a table's row the deletion is written then, if there was a version before.",
		},
		Drops: []string{ReasonEncode, ReasonExpression, ReasonWrongType, ReasonTooLarge},
	},
}

// Reason explains one reason with which records are dropped.
type Reason struct{ Name, Text string }

// Reasons lists them all. It is not changed.
var Reasons = []Reason{
	{ReasonNullKey, "the key is null where one is needed"},
	{ReasonNullValue, "the value is null in a join or an aggregate over a stream"},
	{ReasonNoMatch, "an inner join finds no row for the key, or no partner in time"},
	{ReasonInvalidKey, "the key is not of its format"},
	{ReasonInvalidValue, "the value is not of its format, or not in its envelope"},
	{ReasonWrongType, "a field is not of its declared type, or a spread meets what is no object"},
	{ReasonTimestamp, "the event time is null, negative, or cannot be computed"},
	{ReasonAhead, "the event time lies further ahead than max_ahead allows"},
	{ReasonExpression, "an expression fails: overflow, division by zero, a conversion, a wrong kind of value"},
	{ReasonWrongPartition, "the record lies in another partition than its key says"},
	{ReasonInvalidQuery, "the query of a row of a table of stored queries is null or cannot be read; the row then has none"},
	{ReasonGap, "the records were gone from the topic before they were processed, and `on_gap` says to go on"},
	{ReasonEmptyList, "the list that is unnested is null or has no elements"},
	{ReasonDuplicate, "a record of the same key has been handed on that lies within the span of time"},
	{ReasonLate, "the record comes later than the grace allows"},
	{ReasonExpired, "the row is older than the table's `ttl` allows"},
	{ReasonEncode, "the result is not of the sink's format"},
	{ReasonTooLarge, "the result is larger than the topic takes (`max.message.bytes`); under the name `dead letters`: a dead letter is, even without key and value"},
}
