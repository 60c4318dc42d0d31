package codec

import (
	"strings"
	"testing"

	"streamctl/internal/value"
)

// path reads "a.b[0]" as steps.
func path(text string) []Step {
	var steps []Step
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == '.' || r == '[' }) {
		if index, ok := strings.CutSuffix(part, "]"); ok {
			n, negative := 0, false
			for _, c := range index {
				if c == '-' {
					negative = true
					continue
				}
				n = n*10 + int(c-'0')
			}
			if negative {
				n = -n
			}
			steps = append(steps, Step{Index: n, IsIndex: true})
			continue
		}
		steps = append(steps, Step{Name: part})
	}
	return steps
}

const view = `{"eventType":"PageViewEvent","timestamp":1413215518,"viewerId":1234,"sessionId":"a5b8c1d2e3f4","pageKey":"profile-view","viewedProfileId":4321,"trackingKey":"invitation-email","extra":{"a":[1,2,3]}}`

func viewShape() *Shape {
	s := NewShape()
	s.Slot(path("timestamp"), WantInt)
	s.Slot(path("viewerId"), WantInt)
	s.Slot(path("pageKey"), WantString)
	s.Slot(path("viewedProfileId"), WantInt)
	s.Freeze()
	return s
}

func TestScanView(t *testing.T) {
	s, row := viewShape(), &value.Row{}
	if err := s.Scan([]byte(view), row); err != nil {
		t.Fatal(err)
	}
	if row.Slots[0].AsInt() != 1413215518 || row.Slots[1].AsInt() != 1234 ||
		row.Slots[2].AsString() != "profile-view" || row.Slots[3].AsInt() != 4321 {
		t.Errorf("slots: %v", row.Slots)
	}
	doc := []byte(view)
	if n := testing.AllocsPerRun(100, func() { _ = s.Scan(doc, row) }); n != 0 {
		t.Errorf("allocations: %v", n)
	}
}

func BenchmarkScanView(b *testing.B) {
	s, row, doc := viewShape(), &value.Row{}, []byte(view)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Scan(doc, row); err != nil {
			b.Fatal(err)
		}
	}
}
