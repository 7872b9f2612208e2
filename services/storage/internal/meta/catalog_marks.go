package meta

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"
)

// catalogMarks tell what of an account a snapshot has: by mailbox its modseq, and a checksum of the subscriptions.
type catalogMarks struct {
	modseqs       map[uint64]uint64
	subscriptions uint64
}

// subscribe adds a name; the order does not matter.
func (m *catalogMarks) subscribe(name string) { m.subscriptions += xxhash.Sum64String(name) }

func (m *catalogMarks) encode() []byte {
	if m == nil {
		return nil
	}
	b := binary.LittleEndian.AppendUint64(nil, m.subscriptions)
	for _, id := range slices.Sorted(maps.Keys(m.modseqs)) {
		b = binary.AppendUvarint(binary.AppendUvarint(b, id), m.modseqs[id])
	}
	return b
}

func parseMarks(b []byte) (catalogMarks, error) {
	m := catalogMarks{modseqs: map[uint64]uint64{}}
	if len(b) == 0 {
		return m, nil
	}
	if len(b) < 8 {
		return m, errors.New("marks of the catalog are cut")
	}
	m.subscriptions, b = binary.LittleEndian.Uint64(b), b[8:]
	for len(b) > 0 {
		id, n := binary.Uvarint(b)
		modseq, k := binary.Uvarint(b[max(n, 0):])
		if n <= 0 || k <= 0 {
			return m, errors.New("marks of the catalog are cut")
		}
		m.modseqs[id], b = modseq, b[n+k:]
	}
	return m, nil
}

// packContentID gives the octets of a UUID, else the text, which a zero octet keeps from being taken for one.
func packContentID(id string) []byte {
	if u, err := uuid.Parse(id); err == nil && u.String() == id {
		return u[:]
	}
	if len(id) == len(uuid.UUID{}) {
		return append([]byte{0}, id...)
	}
	return []byte(id)
}

func unpackContentID(b []byte) string {
	if u, err := uuid.FromBytes(b); err == nil {
		return u.String()
	}
	if len(b) == len(uuid.UUID{})+1 && b[0] == 0 {
		b = b[1:]
	}
	return string(b)
}
