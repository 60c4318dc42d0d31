package main

import (
	"fmt"
	"io"
	"time"
)

// result is one line of the table.
type result struct {
	name    string
	records int64 // what the CPU is divided by
	usage   usage
	first   time.Duration // start to first output, 0 = not measured
	note    string
}

func (r result) cpuPerRecord() float64 { // us
	return float64(r.usage.cpu.Nanoseconds()) / 1000 / float64(r.records)
}

type results struct{ rows []result }

func (rs *results) add(r result) { rs.rows = append(rs.rows, r) }

// find returns the row of a name.
func (rs *results) find(name string) (result, bool) {
	for _, r := range rs.rows {
		if r.name == name {
			return r, true
		}
	}
	return result{}, false
}

// print writes the table. The ratio is to the bare copy's CPU per record.
func (rs *results) print(w io.Writer) {
	limit, haveLimit := rs.find(copyName)
	fmt.Fprintln(w, "| measurement | records/s | CPU us/record | x bare copy | peak RSS MB | allocs/record | first output | wall | note |")
	fmt.Fprintln(w, "|---|---:|---:|---:|---:|---:|---:|---:|---|")
	for _, r := range rs.rows {
		per, rate, ratio, allocs, first := "", "", "", "", ""
		if r.records > 0 {
			per = fmt.Sprintf("%.2f", r.cpuPerRecord())
			rate = fmt.Sprintf("%.0f", float64(r.records)/r.usage.wall.Seconds())
			if haveLimit {
				ratio = fmt.Sprintf("%.2f", r.cpuPerRecord()/limit.cpuPerRecord())
			}
			if r.usage.stats != nil {
				allocs = fmt.Sprintf("%.2f", float64(r.usage.stats.Mallocs)/float64(r.records))
			}
		}
		if r.first > 0 {
			first = r.first.Round(time.Millisecond).String()
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %.0f | %s | %s | %s | %s |\n", r.name, rate, per, ratio,
			float64(r.usage.peakRSS)/(1<<20), allocs, first, r.usage.wall.Round(time.Millisecond), r.note)
	}
}
