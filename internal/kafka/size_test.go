package kafka

import (
	"fmt"
	"strings"
	"testing"

	"streamctl/internal/engine"
	"streamctl/internal/record"
)

// TestSize lets a broker say whether Size is right: what it gives goes through at
// that limit, and not at one less.
func TestSize(t *testing.T) {
	onReal(t, func(e *env) {
		for _, compression := range []Compression{CompressionNone, CompressionLZ4, CompressionZSTD} {
			tr := e.open(func(s *Settings) { s.Compression = compression })
			var text strings.Builder
			for i := range 2000 {
				fmt.Fprintf(&text, "%d, and what comes behind %d; ", i*i, i)
			}
			rec := record.Record{Key: []byte("key"), Value: []byte(text.String()), Time: 1700000000000,
				Headers: []record.Header{{Key: "h", Value: []byte("1")}, {Key: "null"}}}
			p := e.producer(tr, e.name("id"))
			size := p.Size(&rec)
			if plain := p.c.set.Compression == CompressionNone; plain != (size > len(rec.Value)) {
				e.Fatalf("%s: %d bytes take %d", compression, len(rec.Value), size)
			}
			fits := e.topic(tr, 1, map[string]string{"max.message.bytes": fmt.Sprint(size)})
			p.Send(tp(fits, 0), rec)
			e.mustCommit(p, engine.Commit{})
			less := e.topic(tr, 1, map[string]string{"max.message.bytes": fmt.Sprint(size - 1)})
			p.Send(tp(less, 0), rec)
			r := e.commit(p, engine.Commit{})
			if r.Err == nil {
				e.Fatalf("%s: a record of %d bytes goes through at %d", compression, size, size-1)
			}
			for _, want := range []string{less + "/0", "max.message.bytes", "--topic " + less} {
				if !strings.Contains(r.Err.Error(), want) {
					e.Errorf("message %q does not name %q", r.Err, want)
				}
			}
		}
	})
}
