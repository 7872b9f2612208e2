// Package object is the store of immutable bytes under keys that holds packs of message bodies: a directory here, S3 elsewhere.
//
// Objects are write-once: nobody puts two different contents under one key, so a repeated Put after a lost answer is safe, and what was
// read once may be cached for ever.
package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"syscall"
	"time"
)

// Errors that every backend answers, wrapped with the operation and the key.
var (
	// ErrNotFound: no object has this key.
	ErrNotFound = errors.New("object not found")
	// ErrFull: the backend has no room (disk, file system quota, bucket quota). Nothing became visible; a later try may succeed.
	ErrFull = errors.New("object store is full")
	// ErrSize: the reader gave fewer or more octets than were announced. Nothing became visible.
	ErrSize = errors.New("object size differs from what was announced")
	// ErrKey: the key is not one that CheckKey passes.
	ErrKey = errors.New("invalid object key")
)

// SizeUnknown says to Put that the object ends where its reader does.
const SizeUnknown = -1

// Info describes an object.
type Info struct {
	Key      string
	Size     int64
	Modified time.Time
}

// Store keeps objects. All methods may be called concurrently. No key may be the folder of another, as a is of a/b: an S3 service over a file
// system has place for one of them only.
type Store interface {
	// Put stores what r gives under key; size is in octets or SizeUnknown. When it returns nil the object is durable and visible to all;
	// otherwise nothing became visible (except that a lost answer of a remote backend may leave the whole object).
	// Errors: ErrFull, ErrSize, ErrKey, the reader's own, ctx.Err().
	Put(ctx context.Context, key string, r io.Reader, size int64) error
	// GetRange reads n octets from offset off; n < 0 reads to the end. A range is cut at the object's end, one that begins there or past it
	// is empty. The caller closes the reader. Errors: ErrNotFound, ErrKey.
	GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
	// Stat describes one object. Errors: ErrNotFound, ErrKey.
	Stat(ctx context.Context, key string) (Info, error)
	// List goes through the keys that begin with prefix and are greater than after, in ascending byte order. It ends after the first error.
	// Objects that come or go while it runs may or may not be listed.
	List(ctx context.Context, prefix, after string) iter.Seq2[Info, error]
	// Delete removes an object; one that is gone already is no error. Errors: ErrKey.
	Delete(ctx context.Context, key string) error
}

// Limited is a Store that knows how much more it can take. One without that, as an S3 bucket, does not implement it.
type Limited interface {
	// Free gives the octets that can still be written.
	Free() (bytes int64, err error)
}

// Limits of a key.
const (
	maxKey  = 512
	maxName = 200
)

// CheckKey tells whether key is fit for every backend: up to 512 octets, names of 1 to 200 octets of A-Z a-z 0-9 . _ - separated by '/',
// none of them beginning with a dot. The error is an ErrKey.
func CheckKey(key string) error {
	if len(key) > maxKey {
		return fmt.Errorf("%w: longer than %d octets", ErrKey, maxKey)
	}
	for name := range strings.SplitSeq(key, "/") {
		if name == "" || name[0] == '.' || len(name) > maxName || strings.ContainsFunc(name, notInName) {
			return fmt.Errorf("%w: %q", ErrKey, key)
		}
	}
	return nil
}

func notInName(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
		return false
	}
	return true
}

// NoSpace tells whether err says that a file system has no room left: full, over the user's quota, or over the process's file size limit.
func NoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
