package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// What can be learned of the members from outside.

// isMember says whether the process at a place is in the groups of all jobs.
func (f *fleet) isMember(i int) bool {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	running := len(f.which(nil, runs))
	for _, j := range f.jobs {
		g, err := f.cluster.Group(ctx, j.name)
		if err != nil || g.State != "Stable" || len(g.Members) != running {
			return false
		}
	}
	return true
}

// metrics asks a process for its metrics. Those of equal names are summed; an
// incident is told apart, as streamctl_incidents_total/NAME.
func (f *fleet) metrics(i int) map[string]float64 {
	f.t.Helper()
	p := f.members[i].now
	address := ""
	f.await("the address of metrics", patience, func() bool {
		for _, l := range p.Lines(func(text string) bool { return strings.Contains(text, "probes and metrics") }) {
			var said struct{ Address string }
			if json.Unmarshal([]byte(l.Text), &said) == nil {
				address = said.Address
			}
		}
		return address != ""
	})
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatalf("metrics of member %d: %v", i, err)
	}
	defer resp.Body.Close()
	out := make(map[string]float64)
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		n, err := strconv.ParseFloat(value, 64)
		if !ok || name == "#" || err != nil {
			continue
		}
		name, labels, _ := strings.Cut(name, "{")
		if m := incidentLabel.FindStringSubmatch(labels); m != nil {
			out[name+"/"+m[1]] += n
		}
		out[name] += n
	}
	return out
}

var incidentLabel = regexp.MustCompile(`incident="([^"]*)"`)

// incidents is how often the processes that run have recovered from something,
// all together.
func (f *fleet) incidents(names ...string) (sum int) {
	f.t.Helper()
	for _, i := range f.which(nil, runs) {
		m := f.metrics(i)
		for _, name := range names {
			sum += int(m["streamctl_incidents_total/"+name])
		}
	}
	return sum
}

// size is what a process takes.
type size struct {
	resident   int64 // bytes
	goroutines int
}

// sizes of processes, by place.
func (f *fleet) sizes(indexes ...int) map[int]size {
	f.t.Helper()
	out := make(map[int]size)
	for _, i := range indexes {
		m := f.metrics(i)
		out[i] = size{resident: int64(m["process_resident_memory_bytes"]), goroutines: int(m["go_goroutines"])}
	}
	return out
}

// What a process may grow by while the same work goes on: caches fill, and
// goroutines come and go with connections.
const (
	memoryGrowth    = 96 << 20
	goroutineGrowth = 30
)

// checkFlat fails the story when processes have grown.
func (f *fleet) checkFlat(before, after map[int]size) {
	f.t.Helper()
	for i, b := range before {
		a := after[i]
		f.t.Logf("member %d: %d MB and %d goroutines, then %d MB and %d", i, b.resident>>20, b.goroutines, a.resident>>20, a.goroutines)
		if b.resident == 0 || b.goroutines == 0 {
			f.t.Errorf("member %d does not tell its size", i)
		}
		if a.resident > b.resident+memoryGrowth || a.goroutines > b.goroutines+goroutineGrowth {
			f.t.Errorf("member %d has grown", i)
		}
	}
}
