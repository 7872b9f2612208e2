package wire

import "net"

// Memory is the content of a literal that is in memory, in pieces. Nobody changes them.
type Memory struct{ net.Buffers }

// NewMemory makes it of size octets, from offset off on, of the pieces one after the other.
func NewMemory(off, size uint64, pieces ...[]byte) *Memory {
	m := &Memory{}
	for _, piece := range pieces {
		n := uint64(len(piece))
		skip := min(off, n)
		take := min(size, n-skip)
		if take > 0 {
			m.Buffers = append(m.Buffers, piece[skip:][:take])
		}
		off, size = off-skip, size-take
	}
	return m
}

// Len is the number of octets that are yet to be read.
func (m *Memory) Len() (n int64) {
	for _, piece := range m.Buffers {
		n += int64(len(piece))
	}
	return n
}
