// Package transfer carries mail into an account from files and other servers, and out of it into files.
package transfer

import (
	"context"
	"io"
	"time"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// Item is a message of a source.
type Item struct {
	// Key names the message in its source: the same in each run, and not longer than a line.
	Key string
	// Mailbox in Yubin's notation: levels separated by '/'. Empty: the source has no mailboxes.
	Mailbox  string
	Flags    uint32 // bits of storagev1.Flag
	Keywords []string
	Date     time.Time // INTERNALDATE; zero: now
	Size     int64     // octets, about

	// place is where the source finds it again.
	place any
}

// Folder is a mailbox of a source.
type Folder struct {
	Name string
	// SpecialUse makes it the account's mailbox of that use, whatever its name.
	SpecialUse storagev1.SpecialUse
}

// Source is where messages come from.
type Source interface {
	// ID names the source for the record of what was imported.
	ID() string
	// Index lists all messages and mailboxes, in the order in which they are to be read.
	Index(ctx context.Context) ([]Item, []Folder, error)
	// Read calls each with the content of items, in order, with CRLF line ends. A message that has gone since Index is left
	// out. An error of each ends it and is returned as it is.
	Read(ctx context.Context, items []Item, each func(Item, io.Reader) error) error
	Close() error
}

// Progress shows how far a transfer is.
type Progress interface {
	// Start is called once, when it is known how much there is to do.
	Start(messages int, octets int64)
	// Done counts a message of so many octets.
	Done(octets int64)
	// Finish is called at the end, also after an error.
	Finish()
}

func flagBits(seen, answered, flagged, deleted, draft bool) (bits uint32) {
	for _, f := range []struct {
		set bool
		bit storagev1.Flag
	}{
		{seen, storagev1.Flag_FLAG_SEEN}, {answered, storagev1.Flag_FLAG_ANSWERED}, {flagged, storagev1.Flag_FLAG_FLAGGED},
		{deleted, storagev1.Flag_FLAG_DELETED}, {draft, storagev1.Flag_FLAG_DRAFT},
	} {
		if f.set {
			bits |= uint32(f.bit)
		}
	}
	return bits
}

func hasFlag(bits uint32, f storagev1.Flag) bool { return bits&uint32(f) != 0 }
