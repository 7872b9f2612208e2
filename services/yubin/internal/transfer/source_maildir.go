package transfer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/yubin-mail/yubin/services/yubin/internal/maildir"
)

// maildirSource reads a Maildir++ tree.
type maildirSource struct{ dir string }

// OpenMaildir makes a source of a Maildir, with its subfolders.
func OpenMaildir(dir string) (Source, error) {
	absolute, err := filepath.Abs(dir)
	return &maildirSource{dir: absolute}, err
}

func (s *maildirSource) ID() string { return "maildir:" + s.dir }

func (s *maildirSource) Close() error { return nil }

func (s *maildirSource) Index(context.Context) ([]Item, []Folder, error) {
	entries, mailboxes, err := maildir.Scan(s.dir)
	if err != nil {
		return nil, nil, err
	}
	items := make([]Item, 0, len(entries))
	for _, e := range entries {
		items = append(items, Item{
			Key: e.Mailbox + "/" + e.Unique, Mailbox: e.Mailbox, Flags: flagBits(e.Seen, e.Answered, e.Flagged, e.Deleted, e.Draft),
			Keywords: e.Keywords, Date: e.Date, Size: e.Size, place: e,
		})
	}
	folders := make([]Folder, 0, len(mailboxes))
	for _, name := range mailboxes {
		folders = append(folders, Folder{Name: name})
	}
	return items, folders, nil
}

func (s *maildirSource) Read(ctx context.Context, items []Item, each func(Item, io.Reader) error) error {
	for _, item := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := readEntry(item, each); err != nil {
			return err
		}
	}
	return nil
}

func readEntry(item Item, each func(Item, io.Reader) error) error {
	e, _ := item.place.(maildir.Entry)
	r, err := maildir.Open(e)
	if errors.Is(err, fs.ErrNotExist) { // deleted, or its flags changed, since Index: the next run finds it
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	return each(item, r)
}
