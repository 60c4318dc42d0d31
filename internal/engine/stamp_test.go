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
		if got, err := mine.passedBy(c.row.encode()); got != c.passed || err != nil {
			t.Errorf("%v: %v, %v", c.row, got, err)
		}
	}
	whole := stamps{1: 1 << 20}.encode()
	for n := 1; n < len(whole); n++ {
		if _, err := mine.passedBy(whole[:n]); err == nil {
			t.Errorf("a stamp cut to %d bytes is taken", n)
		}
	}
}
