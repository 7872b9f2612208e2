package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// writes notes how long each write was.
type writes struct {
	bytes.Buffer
	sizes []int
	fail  error
}

func (w *writes) Write(p []byte) (int, error) {
	if w.fail != nil {
		return 0, w.fail
	}
	w.sizes = append(w.sizes, len(p))
	return w.Buffer.Write(p)
}

func TestBufferGathersAndKeepsNothing(t *testing.T) {
	var w writes
	b := buffer{w: &w}
	var want strings.Builder
	for i := range 40_000 {
		piece := strings.Repeat(string(rune('a'+i%26)), i%17)
		want.WriteString(piece)
		write := func() (int, error) { return b.WriteString(piece) }
		if i%2 == 0 {
			write = func() (int, error) { return b.Write(append(b.AvailableBuffer(), piece...)) }
		}
		if n, err := write(); n != len(piece) || err != nil {
			t.Fatalf("write %d: %d, %v", i, n, err)
		}
	}
	long := strings.Repeat("long", writeBuffer)
	for range 2 {
		if n, err := b.WriteString(long); n != len(long) || err != nil {
			t.Fatalf("long write: %d, %v", n, err)
		}
		want.WriteString(long)
	}
	if err := b.Flush(); err != nil || w.String() != want.String() {
		t.Fatalf("%d octets, want %d; %v", w.Len(), want.Len(), err)
	}
	if b.full != nil || b.Buffered() != 0 {
		t.Error("the buffer has memory after Flush")
	}
	for _, size := range w.sizes[:len(w.sizes)-1] {
		if size < writeBuffer {
			t.Errorf("wrote %d octets, want %d or more", size, writeBuffer)
		}
	}
}

func TestBufferTellsWhatFailed(t *testing.T) {
	failed := errors.New("failed")
	b := buffer{w: &writes{fail: failed}}
	if _, err := b.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if err := b.Flush(); !errors.Is(err, failed) {
		t.Errorf("flush: %v", err)
	}
	if _, err := b.Write(make([]byte, 2*writeBuffer)); !errors.Is(err, failed) {
		t.Errorf("long write: %v", err)
	}
}
