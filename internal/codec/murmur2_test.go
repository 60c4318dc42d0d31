package codec

import "testing"

// The vectors are those of the Java client's UtilsTest.
func TestMurmur2(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := Murmur2([]byte(key)); got != want {
			t.Errorf("Murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestPartition(t *testing.T) {
	// toPositive(-973932308) % 7 and % 1000, computed as the Java client does.
	if got := Partition([]byte("21"), 1000); got != (-973932308&0x7fffffff)%1000 {
		t.Errorf("Partition = %d", got)
	}
	for n := int32(1); n < 50; n++ {
		for _, key := range []string{"", "a", "foobar", "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"} {
			if p := Partition([]byte(key), n); p < 0 || p >= n {
				t.Errorf("Partition(%q, %d) = %d", key, n, p)
			}
		}
	}
	key := []byte("urn:linkedin:profile:1234")
	if n := testing.AllocsPerRun(100, func() { Partition(key, 4) }); n != 0 {
		t.Errorf("allocations: %v", n)
	}
}
