package maildir

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Writer adds messages to a tree.
type Writer struct {
	dir     string
	folders map[string]*folder
}

type folder struct {
	dir      string
	have     map[string]bool // unique names
	keywords []string
}

// NewWriter makes the tree if it is not there.
func NewWriter(dir string) (*Writer, error) {
	w := &Writer{dir: dir, folders: map[string]*folder{}}
	_, err := w.folder(inbox)
	return w, err
}

// folder makes the folder of a mailbox if need be.
func (w *Writer) folder(mailbox string) (*folder, error) {
	if f := w.folders[mailbox]; f != nil {
		return f, nil
	}
	name := folderName(mailbox)
	f := &folder{dir: filepath.Join(w.dir, name), have: map[string]bool{}}
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(f.dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	if name != "" { // marks a folder of a tree (Maildir++)
		if err := os.WriteFile(filepath.Join(f.dir, "maildirfolder"), nil, 0o600); err != nil {
			return nil, err
		}
	}
	entries, err := scanFolder(f.dir, mailbox)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		f.have[e.Unique] = true
	}
	if f.keywords, err = loadKeywords(f.dir); err != nil {
		return nil, err
	}
	w.folders[mailbox] = f
	return f, nil
}

// Has makes the mailbox's folder and tells whether a message of that unique name is in it.
func (w *Writer) Has(mailbox, unique string) (bool, error) {
	f, err := w.folder(mailbox)
	if err != nil {
		return false, err
	}
	return f.have[unique], nil
}

// Write adds a message as it is, octet by octet. It is there whole or not at all.
func (w *Writer) Write(mailbox, unique string, flags Flags, date time.Time, content func(io.Writer) error) error {
	f, err := w.folder(mailbox)
	if err != nil {
		return err
	}
	letters, err := f.letters(flags)
	if err != nil {
		return err
	}
	tmp := filepath.Join(f.dir, "tmp", unique)
	if err := writeFile(tmp, date, content); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	if err := os.Rename(tmp, filepath.Join(f.dir, "cur", unique+":2,"+letters)); err != nil {
		return err
	}
	f.have[unique] = true
	return nil
}

func writeFile(path string, date time.Time, content func(io.Writer) error) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := content(file); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Chtimes(path, date, date)
}

// letters gives the flags' letters, and gives new keywords a letter as long as there are any.
func (f *folder) letters(flags Flags) (string, error) {
	changed := false
	letters := flags.letters(func(k string) (rune, bool) {
		i := slices.Index(f.keywords, k)
		if i < 0 && len(f.keywords) < maxKeywords && !strings.ContainsAny(k, " \n") {
			f.keywords = append(f.keywords, k)
			i, changed = len(f.keywords)-1, true
		}
		return 'a' + rune(i), i >= 0
	})
	if changed {
		if err := saveKeywords(f.dir, f.keywords); err != nil {
			return "", fmt.Errorf("write keywords: %w", err)
		}
	}
	return letters, nil
}
