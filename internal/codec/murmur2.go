package codec

import "encoding/binary"

// Murmur2 is the 32 bit MurmurHash2 of Austin Appleby with the seed of
// Kafka's Java client (org.apache.kafka.common.utils.Utils.murmur2).
func Murmur2(key []byte) int32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(key))
	for len(key) >= 4 {
		k := binary.LittleEndian.Uint32(key)
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
		key = key[4:]
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return int32(h)
}

// Partition is where the Java client's default partitioner puts a record with
// this key in a topic of n partitions, n > 0. A null key (nil) has no place of
// its own; it is treated as an empty one.
func Partition(key []byte, n int32) int32 {
	return (Murmur2(key) & 0x7fffffff) % n
}
