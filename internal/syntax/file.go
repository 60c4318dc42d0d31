package syntax

// File is a parsed YAML file.
type File struct {
	Name string
	Text []byte // as read, byte order mark included
	Root *Node  // nil for an empty file
}
