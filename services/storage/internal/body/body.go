// Package body keeps message bodies in packs on an object store: it receives them in spools of bounded memory, writes those that come
// together into few objects, and reads ranges of them, verified and cached.
package body

import (
	"errors"
	"fmt"
)

// Errors of this package. A full object store or disk is object.ErrFull.
var (
	// ErrTooLarge: the message exceeds the limit of its spool.
	ErrTooLarge = errors.New("message is too large")
	// ErrCorrupt: what lies at a location is not what was stored there, or is gone. The error is a *CorruptError.
	ErrCorrupt = errors.New("stored body is corrupt")
)

// CorruptError names the frame that cannot be read. It is an ErrCorrupt; if its object is missing, it is an object.ErrNotFound too.
type CorruptError struct {
	Object string
	// Offset of the frame in the object, in octets.
	Offset int64
	Err    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%v: frame at %d of object %s: %v", ErrCorrupt, e.Offset, e.Object, e.Err)
}

// Unwrap gives the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// Is tells that this is an ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }
