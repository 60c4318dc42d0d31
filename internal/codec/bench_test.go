package codec

import (
	"encoding/json"
	"strings"
	"testing"

	"streamctl/internal/value"
)

func benchmarkScan(b *testing.B, s *Shape, text string) {
	row, doc := &value.Row{}, []byte(text)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Scan(doc, row); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScanView: 4 of 8 fields of a view.
func BenchmarkScanView(b *testing.B) { benchmarkScan(b, viewShape(), view) }

// BenchmarkScanNothing only checks a view.
func BenchmarkScanNothing(b *testing.B) {
	s := NewShape()
	s.Freeze()
	benchmarkScan(b, s, view)
}

// BenchmarkScanProfile: one deep field of a profile with much text, as a table reads it.
func BenchmarkScanProfile(b *testing.B) {
	s := NewShape()
	s.Slot(path("profile"), WantAny)
	s.Slot(path("profile.positions[0].job_title"), WantString)
	s.Slot(path("profile.positions[0].company"), WantString)
	s.Freeze()
	benchmarkScan(b, s, `{"profile":{"firstName":"Ada","lastName":"Lovelace","headline":"Writes about engines that weave algebra as looms weave flowers and leaves","positions":[{"job_title":"Author","company":"Analytical Engines Ltd"},{"job_title":"Editor","company":"Notes & Queries"}],"industry":"Computing","summary":"`+strings.Repeat("A long text with some words in it. ", 10)+`"}}`)
}

// BenchmarkScanSpaced: a view with white space as people write it.
func BenchmarkScanSpaced(b *testing.B) {
	benchmarkScan(b, viewShape(), strings.NewReplacer(`:`, `: `, `,`, ",\n  ").Replace(view))
}

// BenchmarkEncodingJSON reads the same four fields with the standard library, for comparison.
func BenchmarkEncodingJSON(b *testing.B) {
	doc := []byte(view)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		var v struct {
			Timestamp       int64  `json:"timestamp"`
			ViewerID        int64  `json:"viewerId"`
			PageKey         string `json:"pageKey"`
			ViewedProfileID int64  `json:"viewedProfileId"`
		}
		if err := json.Unmarshal(doc, &v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSplice(b *testing.B) {
	s, row := NewShape(), &value.Row{}
	cuts := []int{s.Cut("pageKey"), s.Cut("extra")}
	s.Freeze()
	if err := s.Scan([]byte(view), row); err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst, _, _ = AppendSplice(dst[:0], row, cuts)
	}
}

func BenchmarkMurmur2(b *testing.B) {
	key := []byte("urn:linkedin:profile:1234")
	for b.Loop() {
		Partition(key, 4)
	}
}

// BenchmarkDecodeKey reads keys as they mostly are.
func BenchmarkDecodeKey(b *testing.B) {
	for _, c := range []struct {
		format Format
		key    string
	}{{FormatJSON, `1234567`}, {FormatJSON, `"urn:linkedin:profile:1234"`}, {FormatJSON, `[12,"a"]`}, {FormatString, `urn:linkedin:profile:1234`}} {
		b.Run(c.format.String()+"/"+c.key, func(b *testing.B) {
			key := []byte(c.key)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeKey(c.format, key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
