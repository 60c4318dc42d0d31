package diag

import (
	"slices"
	"strings"
)

// longestCompared bounds the work per name: longer names are never misspelt
// forms of ours.
const longestCompared = 64

// Nearest returns the candidate that name most likely was meant to be, or "".
// The measure is the optimal string alignment distance (insertions, deletions,
// substitutions and swaps of neighbours), case ignored, with `-` and `_` equal. A candidate
// counts when at most one third of the longer name is wrong. Ties go to the
// candidate that shares the longer beginning, then to the first in alphabetical order, so that the
// answer does not depend on the order of candidates.
func Nearest(name string, candidates []string) string {
	if name == "" || len(name) > longestCompared {
		return ""
	}
	from := fold(name)
	sorted := slices.Clone(candidates)
	slices.Sort(sorted)
	best, bestDist, bestPrefix := "", -1, 0
	for _, c := range sorted {
		if c == "" || c == name || len(c) > longestCompared {
			continue
		}
		to := fold(c)
		limit := max(len(from), len(to)) / 3
		if limit == 0 {
			limit = 1
		}
		d := distance(from, to)
		if d > limit || d >= max(len(from), len(to)) {
			continue
		}
		p := commonPrefix(from, to)
		if bestDist < 0 || d < bestDist || d == bestDist && p > bestPrefix {
			best, bestDist, bestPrefix = c, d, p
		}
	}
	return best
}

func fold(s string) []rune {
	return []rune(strings.ReplaceAll(strings.ToLower(s), "-", "_"))
}

func commonPrefix(a, b []rune) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// distance is the optimal string alignment distance (Damerau-Levenshtein in
// which no part is edited twice), in three rolling rows.
func distance(a, b []rune) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
