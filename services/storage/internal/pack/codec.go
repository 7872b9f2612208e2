package pack

import (
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Codecs of a chunk and of the index.
const (
	codecNone = 0
	codecZstd = 1
)

// minCompress is the length below which compression is not tried: a Zstandard frame costs about 10 octets of its own.
const minCompress = 64

// The encoder and the decoders have no state between calls, and may be called concurrently. The encoder's level is the one that finds a few per cent less
// in half the time: a message is compressed while its sender waits.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithWindowSize(ChunkSize), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true),
			zstd.WithEncoderLevel(zstd.SpeedFastest))
		return must(e, err)
	})
	chunkDecoder = sync.OnceValue(func() *zstd.Decoder { return newDecoder(ChunkSize) })
	indexDecoder = sync.OnceValue(func() *zstd.Decoder { return newDecoder(maxIndex) })
)

// newDecoder gives one that refuses to make more than limit octets of a frame.
func newDecoder(limit uint64) *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(limit), zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true))
	return must(d, err)
}

// must is for constructors whose arguments are constants.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// compress appends content to dst in the shorter form. What saves less than a sixteenth is stored as it is, and so read without a decoder.
func compress(dst, content []byte) (out []byte, codec uint32) {
	if len(content) >= minCompress {
		out = encoder().EncodeAll(content, dst)
		if len(out)-len(dst) < len(content)-len(content)/16 {
			return out, codecZstd
		}
	}
	return append(dst, content...), codecNone
}

// decompress gives the size octets of content that stored holds, and never makes much more. It writes over buf if that has room enough.
func decompress(buf, stored []byte, codec uint32, size int) ([]byte, error) {
	switch codec {
	case codecNone:
		if len(stored) != size {
			return nil, corrupt("%d octets stored as %d", size, len(stored))
		}
		return append(buf[:0], stored...), nil
	case codecZstd:
		decoder := chunkDecoder()
		if size > ChunkSize {
			decoder = indexDecoder()
		}
		content, err := decoder.DecodeAll(stored, slices.Grow(buf[:0], size))
		if err != nil {
			return nil, corrupt("decompress: %v", err)
		}
		if len(content) != size {
			return nil, corrupt("%d octets where %d were written", len(content), size)
		}
		return content, nil
	}
	return nil, corrupt("unknown codec %d", codec)
}
