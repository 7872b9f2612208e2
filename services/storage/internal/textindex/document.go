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
	headerPartial
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

// compress appends a text to octets.
func compress(to []byte, text string) ([]byte, error) {
	enc, err := encoder()
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	return enc.EncodeAll([]byte(text), to), nil
}

func decompress(b []byte) (string, error) {
	dec, err := decoder()
	if err != nil {
		return "", fmt.Errorf("make decoder: %w", err)
	}
	text, err := dec.DecodeAll(b, nil)
	if err != nil {
		return "", errors.Join(errDamaged, err)
	}
	return string(text), nil
}

// EncodeText gives what is stored of a text: the format, flags, the octets of the header and of the parts' fields, then those and the body compressed.
func EncodeText(t *search.Text) ([]byte, error) {
	var flags byte
	if t.Partial {
		flags |= partial
	}
	if t.HeaderPartial {
		flags |= headerPartial
	}
	out := binary.AppendUvarint([]byte{Format, flags}, uint64(len(t.Header)))
	return compress(binary.AppendUvarint(out, uint64(len(t.Parts))), t.Header+t.Parts+t.Body)
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
	parts, m := binary.Uvarint(b[2+n:])
	if m <= 0 {
		return nil, errDamaged
	}
	text, err := decompress(b[2+n+m:])
	if err != nil {
		return nil, err
	}
	if header > uint64(len(text)) || parts > uint64(len(text))-header {
		return nil, errDamaged
	}
	body := header + parts
	return &search.Text{
		Header: text[:header], Parts: text[header:body], Body: text[body:], Partial: flags&partial != 0, HeaderPartial: flags&headerPartial != 0,
	}, nil
}
