package textindex

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/yubin-mail/yubin/services/storage/internal/search"
)

const (
	partial = 1 << iota
)

// maxText bounds what a stored text is decompressed to, in octets.
const maxText = 64 << 20

var (
	errDamaged = errors.New("indexed text is damaged")
	encoder    = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
			zstd.WithSingleSegment(true), zstd.WithLowerEncoderMem(true))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxText))
	})
)

// EncodeText gives what is stored of a text: the format, flags, the octets of the header, then header and body compressed.
func EncodeText(t *search.Text) ([]byte, error) {
	enc, err := encoder()
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	var flags byte
	if t.Partial {
		flags |= partial
	}
	out := binary.AppendUvarint([]byte{Format, flags}, uint64(len(t.Header)))
	return enc.EncodeAll([]byte(t.Header+t.Body), out), nil
}

// DecodeText reads what EncodeText gave; nil if it is of another format.
func DecodeText(b []byte) (*search.Text, error) {
	if len(b) < 2 {
		return nil, errDamaged
	}
	if b[0] != Format {
		return nil, nil
	}
	flags := b[1]
	header, n := binary.Uvarint(b[2:])
	if n <= 0 {
		return nil, errDamaged
	}
	dec, err := decoder()
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	all, err := dec.DecodeAll(b[2+n:], nil)
	if err != nil || header > uint64(len(all)) {
		return nil, errors.Join(errDamaged, err)
	}
	text := string(all)
	return &search.Text{Header: text[:header], Body: text[header:], Partial: flags&partial != 0}, nil
}
