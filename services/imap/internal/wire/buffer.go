package wire

import (
	"io"
	"sync"
)

// writeBuffer is about how much is sent at a time.
const writeBuffer = 32 << 10

var writeBuffers = sync.Pool{New: func() any { return new([writeBuffer]byte) }}

// buffer gathers what is sent. It has memory only while something waits for Flush: an idle session needs none.
type buffer struct {
	w    io.Writer
	full *[writeBuffer]byte // nil while nothing waits
	n    int
}

// Buffered is the number of octets that wait.
func (b *buffer) Buffered() int { return b.n }

// AvailableBuffer is room to append to, for a Write that follows at once.
func (b *buffer) AvailableBuffer() []byte {
	b.acquire()
	return b.full[b.n:][:0]
}

// WriteString is Write.
func (b *buffer) WriteString(s string) (int, error) {
	return write(b, s, func(s string) (int, error) { return io.WriteString(b.w, s) })
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) { return write(b, p, b.w.Write) }

func write[T string | []byte](b *buffer, p T, direct func(T) (int, error)) (n int, err error) {
	for len(p) > 0 {
		if b.n == 0 && len(p) >= writeBuffer {
			written, err := direct(p)
			return n + written, err
		}
		b.acquire()
		copied := copy(b.full[b.n:], p)
		b.n, n, p = b.n+copied, n+copied, p[copied:]
		if b.n == writeBuffer {
			if err := b.Flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (b *buffer) acquire() {
	if b.full == nil {
		b.full = writeBuffers.Get().(*[writeBuffer]byte)
	}
}

// Flush sends what waits. What an error keeps from being sent is lost.
func (b *buffer) Flush() error {
	if b.full == nil {
		return nil
	}
	var err error
	if b.n > 0 {
		var n int
		if n, err = b.w.Write(b.full[:b.n]); err == nil && n < b.n {
			err = io.ErrShortWrite
		}
	}
	b.release()
	return err
}

// Reset drops what waits, and writes to w from now on.
func (b *buffer) Reset(w io.Writer) {
	b.release()
	b.w = w
}

func (b *buffer) release() {
	if b.full != nil {
		writeBuffers.Put(b.full)
	}
	b.full, b.n = nil, 0
}
