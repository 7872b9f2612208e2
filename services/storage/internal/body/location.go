package body

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/pack"
)

// Location tells where a stored body lies. Its fields are what a database keeps of a body.
type Location struct {
	// Object is the key of the pack.
	Object string
	// Offset of the frame in the pack, and its length there, in octets.
	Offset, Stored int64
	// Size of the body in octets, uncompressed.
	Size int64
	// Sum is the checksum of the frame's table (see package pack), by which the content is verified.
	Sum uint64
}

func (l Location) frame() pack.Frame {
	return pack.Frame{Offset: l.Offset, Stored: l.Stored, Size: l.Size, Sum: l.Sum}
}

// String gives the fields joined by colons, numbers decimal but the sum in 16 hexadecimal digits. ParseLocation reads it.
func (l Location) String() string {
	return fmt.Sprintf("%s:%d:%d:%d:%016x", l.Object, l.Offset, l.Stored, l.Size, l.Sum)
}

// ParseLocation reads what String has made.
func ParseLocation(s string) (Location, error) {
	fields := strings.Split(s, ":")
	if len(fields) != 5 || len(fields[4]) != 16 {
		return Location{}, fmt.Errorf("parse location %q: not five fields", s)
	}
	l := Location{Object: fields[0]}
	if err := object.CheckKey(l.Object); err != nil {
		return Location{}, fmt.Errorf("parse location %q: %w", s, err)
	}
	for i, number := range []*int64{&l.Offset, &l.Stored, &l.Size} {
		n, err := strconv.ParseUint(fields[i+1], 10, 63)
		if err != nil {
			return Location{}, fmt.Errorf("parse location %q: %w", s, err)
		}
		*number = int64(n)
	}
	var err error
	if l.Sum, err = strconv.ParseUint(fields[4], 16, 64); err != nil {
		return Location{}, fmt.Errorf("parse location %q: %w", s, err)
	}
	return l, nil
}

// KeyPrefix begins the keys of all packs; a day, "yyyymmdd" in UTC, and a UUIDv7 (RFC 9562 section 5.7) follow.
const KeyPrefix = "packs/"

// NewKey gives a key that nobody has had, in the order of time.
func NewKey(now time.Time) string {
	id := uuid.New()
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli())<<16)
	copy(id[:6], ms[:6])
	id[6] = id[6]&0x0f | 0x70
	return KeyPrefix + now.UTC().Format("20060102") + "/" + id.String()
}

// ObjectTime tells when the key of a pack was made, to the millisecond: some time before the pack was whole.
func ObjectTime(key string) (time.Time, error) {
	rest, ok := strings.CutPrefix(key, KeyPrefix)
	day, name, ok2 := strings.Cut(rest, "/")
	id, err := uuid.Parse(name)
	if !ok || !ok2 || err != nil || id.Version() != 7 || len(name) != 36 {
		return time.Time{}, fmt.Errorf("time of object %q: not the key of a pack", key)
	}
	t := time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8]) >> 16)).UTC()
	if t.Format("20060102") != day {
		return time.Time{}, fmt.Errorf("time of object %q: its day is another", key)
	}
	return t, nil
}
