package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The server keeps a partition as files N.dat, Kafka record batches one after
// the other with N the offset of the first, and beside each an N.idx with 15
// bytes per batch: version, check byte, leader epoch (4, little endian), a
// timestamp (8), and 1 when the batch is part of a transaction.
const (
	batchHead     = 61 // bytes of a record batch before its records
	indexEntry    = 15
	indexVersion  = 1
	attrInTxn     = 0x10
	attrIsControl = 0x20
	idempotentID  = -1 // producer id of a batch that has none
)

// batchInfo is what mending needs of a record batch.
type batchInfo struct {
	base, end   int64 // first offset, offset after the last
	size        int64 // bytes in the file
	pid         int64
	pidEpoch    int16
	leaderEpoch int32
	txn         bool // in a transaction
	control     bool // a transaction marker
}

func parseBatchHead(h []byte) (batchInfo, bool) {
	size := int64(binary.BigEndian.Uint32(h[8:])) + 12
	if h[16] != 2 || size < batchHead || size > 1<<30 {
		return batchInfo{}, false
	}
	attr := binary.BigEndian.Uint16(h[21:])
	base := int64(binary.BigEndian.Uint64(h))
	return batchInfo{
		base: base, end: base + int64(int32(binary.BigEndian.Uint32(h[23:]))) + 1,
		size: size, leaderEpoch: int32(binary.BigEndian.Uint32(h[12:])),
		pid:      int64(binary.BigEndian.Uint64(h[43:])),
		pidEpoch: int16(binary.BigEndian.Uint16(h[51:])),
		txn:      attr&attrInTxn != 0, control: attr&attrIsControl != 0,
	}, true
}

// eachBatch calls f for every whole batch of a segment file and returns the
// bytes they take; anything behind them was cut off by a kill.
func eachBatch(path string, f func(batchInfo)) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return 0, err
	}
	in := bufio.NewReaderSize(file, 1<<16)
	var pos int64
	for {
		head, err := in.Peek(batchHead)
		if errors.Is(err, io.EOF) {
			return pos, nil
		}
		if err != nil {
			return 0, err
		}
		b, ok := parseBatchHead(head)
		if !ok || pos+b.size > stat.Size() {
			return pos, nil
		}
		f(b)
		pos += b.size
		if _, err := in.Discard(int(b.size)); err != nil {
			return 0, err
		}
	}
}

// segments lists the base offsets of the segment files in a partition's directory, ascending.
func segments(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var bases []int64
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".dat"); ok {
			if base, err := strconv.ParseInt(name, 10, 64); err == nil {
				bases = append(bases, base)
			}
		}
	}
	slices.Sort(bases)
	return bases, nil
}

func segmentPath(dir string, base int64, suffix string) string {
	return filepath.Join(dir, strconv.FormatInt(base, 10)+suffix)
}

// indexBytes is the index entry of a batch.
func indexBytes(leaderEpoch int32, inTxn bool) []byte {
	e := make([]byte, indexEntry)
	e[0] = indexVersion
	binary.LittleEndian.PutUint32(e[2:], uint32(leaderEpoch))
	if inTxn {
		e[14] = 1
	}
	e[1] = byte(crc32.Checksum(e[2:], crc32.MakeTable(crc32.Castagnoli)))
	return e
}

// markerBytes is a transaction marker as a record batch at the given offset.
func markerBytes(offset, nowMs, pid int64, epoch int16, commit bool) []byte {
	key := kmsg.ControlRecordKey{Type: kmsg.ControlRecordKeyTypeAbort}
	if commit {
		key.Type = kmsg.ControlRecordKeyTypeCommit
	}
	rec := kmsg.Record{Key: key.AppendTo(nil), Value: (&kmsg.EndTxnMarker{}).AppendTo(nil)}
	rec.Length = int32(len(rec.AppendTo(nil)) - 1) // itself not counted; it takes one byte
	batch := kmsg.RecordBatch{
		FirstOffset: offset, Magic: 2, Attributes: attrInTxn | attrIsControl,
		FirstTimestamp: nowMs, MaxTimestamp: nowMs,
		ProducerID: pid, ProducerEpoch: epoch, FirstSequence: -1,
		NumRecords: 1, Records: rec.AppendTo(nil),
	}
	raw := batch.AppendTo(nil)
	batch.Length = int32(len(raw) - 12)
	batch.CRC = int32(crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return batch.AppendTo(nil)
}

// appendFile appends to a file, making it when missing.
func appendFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(fmt.Errorf("append to %s: %w", path, err), f.Close())
	}
	return f.Close()
}
