package wire

import (
	"io"
	"testing"
)

func TestMemoryGivesARangeOfItsPieces(t *testing.T) {
	const text = "Delivered-To: a\r\nSubject: b\r\n\r\nc"
	for cut := range len(text) + 1 {
		for off := range len(text) + 1 {
			for size := range len(text) - off + 1 {
				m := NewMemory(uint64(off), uint64(size), []byte(text[:cut]), []byte(text[cut:]))
				if m.Len() != int64(size) {
					t.Fatalf("cut at %d: %d octets from %d are %d", cut, size, off, m.Len())
				}
				if got, err := io.ReadAll(m); err != nil || string(got) != text[off:off+size] {
					t.Fatalf("cut at %d: %d octets from %d are %q, %v", cut, size, off, got, err)
				}
			}
		}
	}
}
