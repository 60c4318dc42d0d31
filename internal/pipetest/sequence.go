package pipetest

import (
	"fmt"
	"strings"
)

// pair is one line of a comparison of two lists: an expected record (index, -1 =
// none) beside one that came (likewise).
type pair struct {
	want, got int
	differ    []difference // of two that do not match
}

func (p pair) matched() bool { return p.want >= 0 && p.got >= 0 && len(p.differ) == 0 }

// align puts expected records beside those that came, in order, so that as few as
// possible are left over: the usual edit distance, where two that differ may
// stand beside each other, the more alike the better. compare gives the differences
// of two; further says which of the expected ones stand for any number.
func align(wants, gots int, further func(int) bool, compare func(want, got int) []difference) []pair {
	const alone = 100 // the cost of one that is left over; two that differ cost more than one, less than two
	differ := make([][][]difference, wants)
	cost := make([][]int, wants+1) // of the first i expected and the first j that came
	cost[0] = make([]int, gots+1)
	for j := 1; j <= gots; j++ {
		cost[0][j] = j * alone
	}
	beside := func(i, j int) int {
		if n := len(differ[i][j]); n > 0 {
			return alone + 10 + min(n, 80)
		}
		return 0
	}
	for i := range wants {
		differ[i] = make([][]difference, gots)
		cost[i+1] = make([]int, gots+1)
		if further(i) {
			cost[i+1][0] = cost[i][0]
			for j := 1; j <= gots; j++ {
				cost[i+1][j] = min(cost[i][j], cost[i+1][j-1])
			}
			continue
		}
		cost[i+1][0] = cost[i][0] + alone
		for j := range gots {
			differ[i][j] = compare(i, j)
			cost[i+1][j+1] = min(cost[i][j+1]+alone, cost[i+1][j]+alone, cost[i][j]+beside(i, j))
		}
	}
	var back []pair
	for i, j := wants, gots; i > 0 || j > 0; {
		switch {
		case i > 0 && further(i-1):
			if cost[i][j] == cost[i-1][j] {
				i--
			} else {
				j--
			}
		case i > 0 && j > 0 && cost[i][j] == cost[i-1][j-1]+beside(i-1, j-1):
			i, j = i-1, j-1
			back = append(back, pair{i, j, differ[i][j]})
		case j > 0 && cost[i][j] == cost[i][j-1]+alone:
			j--
			back = append(back, pair{-1, j, nil})
		default:
			i--
			back = append(back, pair{i, -1, nil})
		}
	}
	for l, r := 0, len(back)-1; l < r; l, r = l+1, r-1 {
		back[l], back[r] = back[r], back[l]
	}
	return back
}

// assign puts expected records beside those that came in whatever order: each
// finds one that matches it if all can have one (augmenting paths, as in the
// marriage problem), and what is left over is put together in order.
func assign(wants, gots int, further func(int) bool, compare func(want, got int) []difference) []pair {
	takenBy := make([]int, gots)
	for j := range takenBy {
		takenBy[j] = -1
	}
	fits := make([][]bool, wants)
	open := false
	var seek func(i int, tried []bool) bool
	seek = func(i int, tried []bool) bool {
		for j := range gots {
			if !fits[i][j] || tried[j] {
				continue
			}
			tried[j] = true
			if takenBy[j] < 0 || seek(takenBy[j], tried) {
				takenBy[j] = i
				return true
			}
		}
		return false
	}
	for i := range wants {
		if further(i) {
			open = true
			continue
		}
		fits[i] = make([]bool, gots)
		for j := range gots {
			fits[i][j] = len(compare(i, j)) == 0
		}
		seek(i, make([]bool, gots))
	}
	gotOf := make(map[int]int)
	var left []int
	for j, i := range takenBy {
		if i >= 0 {
			gotOf[i] = j
		} else {
			left = append(left, j)
		}
	}
	var out []pair
	for i := range wants {
		j, ok := gotOf[i]
		switch {
		case further(i):
		case ok:
			out = append(out, pair{i, j, nil})
		case len(left) > 0 && !open:
			out = append(out, pair{i, left[0], compare(i, left[0])})
			left = left[1:]
		default:
			out = append(out, pair{i, -1, nil})
		}
	}
	for _, j := range left {
		if !open {
			out = append(out, pair{-1, j, nil})
		}
	}
	return out
}

// longestShown is how much of a record a line of a comparison shows, in bytes.
const longestShown = 400

// clip shortens a text for a line.
func clip(s string) string {
	if len(s) <= longestShown {
		return s
	}
	return strings.ToValidUTF8(s[:longestShown], "") + "…"
}

// table writes pairs as lines, with a mark for each: = is as expected, ~ differs,
// - is missing, + was not expected. place gives the line of an expected one.
func lines(pairs []pair, want, got func(int) string, place func(int) int) []string {
	var out []string
	for _, p := range pairs {
		switch {
		case p.want < 0:
			out = append(out, "+ "+clip(got(p.got)))
		case p.got < 0:
			out = append(out, fmt.Sprintf("- %s (line %d)", clip(want(p.want)), place(p.want)))
		case len(p.differ) == 0:
			out = append(out, "= "+clip(got(p.got)))
		default:
			out = append(out, fmt.Sprintf("~ %s (line %d)", clip(got(p.got)), place(p.want)))
			for _, d := range p.differ {
				out = append(out, "    "+clip(d.String()))
			}
		}
	}
	return out
}
