package transfer

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/yubin-mail/yubin/services/yubin/internal/mbox"
)

// mboxSource reads an mbox file.
type mboxSource struct {
	file   *os.File
	path   string
	format mbox.Format
}

// OpenMbox makes a source of an mbox file.
func OpenMbox(path string, format mbox.Format) (Source, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &mboxSource{file: file, path: absolute, format: format}, nil
}

func (s *mboxSource) ID() string { return "mbox:" + s.path }

func (s *mboxSource) Close() error { return s.file.Close() }

// Index names messages by their content, so that they keep their names when others before them are deleted: the second of
// two that are the same has a number.
func (s *mboxSource) Index(ctx context.Context) ([]Item, []Folder, error) {
	info, err := s.file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is no file", s.path)
	}
	var items []Item
	copies := map[[32]byte]int{}
	err = mbox.Scan(s.file, info.Size(), s.format, func(e mbox.Entry) error {
		copies[e.Digest]++
		items = append(items, Item{
			Key:     fmt.Sprintf("%s.%d", hex.EncodeToString(e.Digest[:]), copies[e.Digest]),
			Mailbox: e.Mailbox, Flags: flagBits(e.Seen, e.Answered, e.Flagged, e.Deleted, e.Draft), Keywords: e.Keywords,
			Date: e.Date, Size: e.Size, place: e,
		})
		return ctx.Err()
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.path, err)
	}
	return items, nil, nil
}

func (s *mboxSource) Read(ctx context.Context, items []Item, each func(Item, io.Reader) error) error {
	for _, item := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, _ := item.place.(mbox.Entry)
		if err := each(item, mbox.Open(s.file, e, s.format)); err != nil {
			return err
		}
	}
	return nil
}
