package expr

import (
	"path/filepath"
	"testing"
)

// TestDocs holds docs/functions.md to the library.
func TestDocs(t *testing.T) {
	golden(t, filepath.Join("..", "docs", "functions.md"), Docs())
}
