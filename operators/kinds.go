package operators

// Kind describes an operator to people: the operator reference is made of it.
type Kind struct {
	Name    string
	Clause  string // how a pipeline asks for it
	Summary string
	State   bool     // it keeps a table
	Drops   []string // reasons with which it may drop records
}

// All lists the operators in the order in which records meet them. It is not changed.
var All = []Kind{
	{"source", "sources:", "reads a topic as a stream: decodes key and value, finds the event time, checks that partitions are as promised", false,
		[]string{ReasonInvalidKey, ReasonInvalidValue, ReasonWrongType, ReasonTimestamp, ReasonAhead, ReasonWrongPartition}},
	{"table", "tables: with topic:", "keeps the last row per key of a topic, bare or in an envelope; a null deletes", true,
		[]string{ReasonInvalidKey, ReasonInvalidValue, ReasonWrongType, ReasonTimestamp, ReasonAhead, ReasonWrongPartition, ReasonNullKey, ReasonExpression}},
	{"rekey", "tables: with key:", "writes the rows of a table under its own key to the table's changelog, and deletes the old row when a key changes", false,
		[]string{ReasonNullKey, ReasonExpression}},
	{"union", "from: [a x, b x]", "takes the records of several streams as one", false, nil},
	{"filter", "where:", "hands on the records for which a condition holds; null counts as false", false,
		[]string{ReasonExpression}},
	{"repartition", "made by the compiler", "brings records with equal keys into one partition through a topic of the pipeline's own", false,
		[]string{ReasonNullKey, ReasonNullValue, ReasonExpression}},
	{"join", "join: [{inner: table t, on: ...}]", "finds for each record of a stream the row of a table by its key; left hands on unmatched records too", false,
		[]string{ReasonNullKey, ReasonNullValue, ReasonExpression}},
	{"project", "select:", "makes a new value of fields that pass through and of computed ones", false,
		[]string{ReasonExpression, ReasonWrongType}},
	{"aggregate", "tables: with group_by:", "keeps count, sum, min and max per group of a stream, and sends every update", true,
		[]string{ReasonNullKey, ReasonNullValue, ReasonExpression}},
	{"sink", "sinks:", "writes a stream, or the changes of a table, to a topic", false,
		[]string{ReasonEncode, ReasonExpression, ReasonWrongType}},
}
