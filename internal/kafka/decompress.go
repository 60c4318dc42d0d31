package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/IBM/sarama"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// unpacker decompresses batches, one at a time, up to limit bytes for each. What it needs
// for that it makes when it first meets a compression.
type unpacker struct {
	limit int

	in   bytes.Reader
	gzip *gzip.Reader
	lz4  *lz4.Reader
	zstd *zstd.Decoder
}

// unpack gives the records of a batch; those that are not compressed it returns as they lie.
func (u *unpacker) unpack(codec uint16, data []byte) (out []byte, err error) {
	switch c := sarama.CompressionCodec(codec); c {
	case sarama.CompressionNone:
		return data, nil
	case sarama.CompressionGZIP:
		out, err = u.gunzip(data)
	case sarama.CompressionSnappy:
		out, err = u.unsnap(data)
	case sarama.CompressionLZ4:
		out, err = u.unlz4(data)
	case sarama.CompressionZSTD:
		out, err = u.unzstd(data)
	default:
		return nil, fmt.Errorf("its compression, %d, is not known", codec)
	}
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", sarama.CompressionCodec(codec), err)
	}
	return out, nil
}

// tooLarge refuses a batch that grows and grows.
func (u *unpacker) tooLarge() error {
	return fmt.Errorf("it is larger than %d bytes", u.limit)
}

// guess is how much memory to begin with for what data becomes.
func (u *unpacker) guess(data []byte) int { return min(4*len(data)+bytes.MinRead, u.limit) }

func (u *unpacker) gunzip(data []byte) (_ []byte, err error) {
	u.in.Reset(data)
	if u.gzip == nil {
		u.gzip, err = gzip.NewReader(&u.in)
	} else {
		err = u.gzip.Reset(&u.in)
	}
	if err != nil {
		return nil, err
	}
	return u.readAll(u.gzip, data)
}

func (u *unpacker) unlz4(data []byte) ([]byte, error) {
	u.in.Reset(data)
	if u.lz4 == nil {
		u.lz4 = lz4.NewReader(&u.in)
	} else {
		u.lz4.Reset(&u.in)
	}
	return u.readAll(u.lz4, data)
}

// readAll reads what data becomes.
func (u *unpacker) readAll(r io.Reader, data []byte) ([]byte, error) {
	out := bytes.NewBuffer(make([]byte, 0, u.guess(data)))
	n, err := out.ReadFrom(io.LimitReader(r, int64(u.limit)+1))
	if err == nil && n > int64(u.limit) {
		err = u.tooLarge()
	}
	return out.Bytes(), err
}

// unsnap tries with more and more memory: how much is needed is not told beforehand.
func (u *unpacker) unsnap(data []byte) ([]byte, error) {
	for size := u.guess(data); ; size = min(2*size, u.limit) {
		out, err := xerial.DecodeCapped(make([]byte, 0, size), data)
		switch {
		case !errors.Is(err, xerial.ErrDstTooSmall):
			return out, err
		case size >= u.limit:
			return nil, u.tooLarge()
		}
	}
}

func (u *unpacker) unzstd(data []byte) (_ []byte, err error) {
	if u.zstd == nil {
		u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(u.limit)))
		if err != nil {
			return nil, err
		}
	}
	out, err := u.zstd.DecodeAll(data, make([]byte, 0, u.guess(data)))
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = u.tooLarge()
	}
	return out, err
}
