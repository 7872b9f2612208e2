// Package audit compares the database with the object store, both ways, and reads what is stored to see whether it is still what was written.
// It changes nothing. Mail comes and goes and packs are rewritten meanwhile: what looks wrong is looked at again before it is reported.
package audit

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/yubin-mail/yubin/services/storage/internal/job"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// Kind of a finding.
type Kind int

// The kinds.
const (
	// MissingObject: messages lie in an object that is not there.
	MissingObject Kind = iota + 1
	// ShortObject: an object ends before the bodies that lie in it.
	ShortObject
	// UnknownPack: messages lie in an object that the database has no row for, so that it may be taken for an orphan.
	UnknownPack
	// WrongCounters: what a pack's row counts is not what its messages add up to.
	WrongCounters
	// DamagedBody: a body is not what was stored.
	DamagedBody
	// DamagedIndex: the index of a pack cannot be read, which a rebuild without the database would need. The bodies can be read.
	DamagedIndex
	// Orphan: an object that the database does not know. The sweep deletes it when it is a day old.
	Orphan
	// Foreign: an object that the database does not know and that is older than it. It is kept.
	Foreign
)

// Trouble tells whether a kind is a defect, and not only a leftover.
func (k Kind) Trouble() bool { return k != Orphan && k != Foreign }

// Finding is something that is not as it should be.
type Finding struct {
	Kind   Kind
	Object string
	// AccountID and ContentID are one of the contents concerned, if any.
	AccountID, ContentID string
	// Contents is how many contents are concerned, Octets how many of the object.
	Contents, Octets int64
	// Made is when the object's key was made; zero if it does not tell.
	Made   time.Time
	Detail string
}

// Summary is what was seen.
type Summary struct {
	// Packs and contents in the database, and the octets of frames and of those alive.
	Packs, Contents, FrameBytes, LiveBytes int64
	// Objects in the object store, and their octets.
	Objects, ObjectBytes int64
	// Waiting objects are being written or will be deleted soon.
	Waiting, WaitingBytes int64
	Orphans, OrphanBytes  int64
	Foreign               int64
	// Frames that were read and verified.
	Frames int64
	// Troubles are findings that are defects.
	Troubles int64
}

// Progress of a run.
type Progress struct {
	Done, Total           int64 // packs; contents of one account
	DoneBytes, TotalBytes int64 // of a scrub
}

// Report takes what a run finds. An error of one of the functions ends the run.
type Report struct {
	Finding  func(Finding) error
	Progress func(Progress) error
}

// Auditor compares and reads.
type Auditor struct {
	Meta    *meta.Store
	Objects object.Store
	Jobs    *job.Runner
	Now     func() time.Time
	Log     *slog.Logger
}

// packsAtOnce is how many packs one query looks at.
const packsAtOnce = 200

// run is one run.
type run struct {
	*Auditor
	report  Report
	begin   time.Time // of the database
	summary Summary
	done    Progress
}

func (r *run) find(f Finding) error {
	if f.Kind.Trouble() {
		r.summary.Troubles++
		r.Log.Error("storage audit found trouble", "kind", f.Kind.String(), "object", f.Object, "account", f.AccountID, "contents", f.Contents, "detail", f.Detail)
	}
	if r.report.Finding == nil {
		return nil
	}
	return r.report.Finding(f)
}

func (r *run) progress() error {
	if r.report.Progress == nil {
		return nil
	}
	return r.report.Progress(r.done)
}

// String names the kind.
func (k Kind) String() string {
	switch k {
	case MissingObject:
		return "missing object"
	case ShortObject:
		return "short object"
	case UnknownPack:
		return "unknown pack"
	case WrongCounters:
		return "wrong counters"
	case DamagedBody:
		return "damaged body"
	case DamagedIndex:
		return "damaged index"
	case Orphan:
		return "orphan"
	case Foreign:
		return "foreign object"
	}
	return "unknown"
}

// stat gives the size of an object, and false if it is not there.
func (a *Auditor) stat(ctx context.Context, key string) (size int64, ok bool, err error) {
	info, err := a.Objects.Stat(ctx, key)
	if errors.Is(err, object.ErrNotFound) {
		return 0, false, nil
	}
	return info.Size, err == nil, err
}
