package state

// TableSpec describes one table of a task.
type TableSpec struct {
	// Name is what the user wrote; it identifies the state across versions.
	Name string
	// Changelog is the topic that changed rows are sent to at commit, "" when
	// the table is fed by a topic that is its changelog.
	Changelog string
}
