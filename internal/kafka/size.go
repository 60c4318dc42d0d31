package kafka

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"streamctl/internal/record"
)

// Size implements engine.Producer: the size of a batch with rec alone, which is
// what a broker compares with max.message.bytes, as compressed as it is sent.
func (p *producer) Size(rec *record.Record) int {
	compression := p.c.set.Compression
	if compression == CompressionNone {
		body := bodySize(rec, 0, 0)
		return batchOverhead + varintSize(int64(body)) + body
	}
	var b batch
	b.add(rec, 0)
	return batchOverhead + p.sizer.size(compression, b.data)
}

// sizer compresses in order to know how much comes out. sarama compresses while
// it writes a request, and nobody else can ask it to; the libraries and their
// settings here are its own, so that the sizes are the same.
type sizer struct {
	mu   sync.Mutex
	zstd *zstd.Encoder
	lz4  *lz4.Writer
	out  bytes.Buffer
}

// size is that of data when compressed; where that fails, that of data: sarama
// will meet the same failure and say so.
func (s *sizer) size(c Compression, data []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Reset()
	var err error
	if c == CompressionZSTD {
		err = s.zstdCompress(data)
	} else {
		err = s.lz4Compress(data)
	}
	if err != nil {
		return len(data)
	}
	return s.out.Len()
}

func (s *sizer) zstdCompress(data []byte) error {
	if s.zstd == nil {
		e, err := zstd.NewWriter(nil, zstd.WithZeroFrames(true), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return err
		}
		s.zstd = e
	}
	s.out.Write(s.zstd.EncodeAll(data, s.out.AvailableBuffer()))
	return nil
}

func (s *sizer) lz4Compress(data []byte) error {
	if s.lz4 == nil {
		w := lz4.NewWriter(nil)
		if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb)); err != nil {
			return err
		}
		s.lz4 = w
	}
	s.lz4.Reset(&s.out)
	if _, err := s.lz4.Write(data); err != nil {
		return err
	}
	return s.lz4.Close()
}
