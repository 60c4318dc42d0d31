package engine

import "testing"

func TestStamps(t *testing.T) {
	mine := stamps{1: 10, 2: 1 << 40}
	for _, c := range []struct {
		row    stamps
		passed bool
	}{
		{stamps{}, false},
		{stamps{1: 10, 2: 1 << 40}, false},
		{stamps{1: 9, 2: 7}, false},
		{stamps{1: 11, 2: 7}, true},
		{stamps{1: 1, 2: 1<<40 + 1}, true},
		{stamps{3: 1 << 50}, false}, // an input that is no more
	} {
		if got, life, err := mine.passedBy(c.row.encode(7)); got != c.passed || life != 7 || err != nil {
			t.Errorf("%v: %v of life %d, %v", c.row, got, life, err)
		}
	}
	whole := stamps{1: 1 << 20}.encode(1 << 10)
	for n := 1; n < len(whole); n++ {
		if n == len(stamps{}.encode(1<<10)) {
			continue // it is whole without what comes then
		}
		if _, _, err := mine.passedBy(whole[:n]); err == nil {
			t.Errorf("a stamp cut to %d bytes is taken", n)
		}
	}
}
