package maildir

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrFormat is returned for a directory that is no Maildir.
var ErrFormat = errors.New("not a Maildir: it has no folder cur or new")

// Flags of a message, in the letters of its file name; keywords are those of Dovecot's file dovecot-keywords, and $Forwarded for P.
type Flags struct {
	Seen, Answered, Flagged, Deleted, Draft bool
	Keywords                                []string
}

// forwarded is the keyword that stands for "passed on".
const forwarded = "$Forwarded"

// Entry is a message in a tree.
type Entry struct {
	Flags
	Mailbox string
	Path    string
	// Unique is the file name without flags: it stays when flags change.
	Unique string
	Date   time.Time // of the file
	Size   int64     // of the file
}

// Scan finds all messages of a tree, mailbox by mailbox in order of name, the inbox first, messages in the order in which they came.
func Scan(dir string) (entries []Entry, mailboxes []string, err error) {
	folders, err := folders(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, folder := range folders {
		mailbox, err := mailboxName(folder)
		if err != nil {
			return nil, nil, fmt.Errorf("folder %q: %w", folder, err)
		}
		found, err := scanFolder(filepath.Join(dir, folder), mailbox)
		if err != nil {
			return nil, nil, err
		}
		mailboxes = append(mailboxes, mailbox)
		entries = append(entries, found...)
	}
	return entries, mailboxes, nil
}

// folders gives the mailboxes' folders in a tree, "" first.
func folders(dir string) ([]string, error) {
	if !isFolder(dir) {
		return nil, fmt.Errorf("%s: %w", dir, ErrFormat)
	}
	out := []string{""}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if name := e.Name(); strings.HasPrefix(name, ".") && isFolder(filepath.Join(dir, name)) {
			out = append(out, name)
		}
	}
	return out, nil
}

func isFolder(dir string) bool {
	for _, sub := range []string{"cur", "new"} {
		if info, err := os.Stat(filepath.Join(dir, sub)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}

func scanFolder(dir, mailbox string) ([]Entry, error) {
	keywords, err := loadKeywords(dir)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, sub := range []string{"cur", "new"} {
		list, err := os.ReadDir(filepath.Join(dir, sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, file := range list {
			if strings.HasPrefix(file.Name(), ".") || !file.Type().IsRegular() {
				continue
			}
			info, err := file.Info()
			if errors.Is(err, fs.ErrNotExist) { // a mail program is at work
				continue
			}
			if err != nil {
				return nil, err
			}
			unique, letters, _ := strings.Cut(file.Name(), ":2,")
			entries = append(entries, Entry{
				Flags: parseFlags(letters, keywords), Mailbox: mailbox, Path: filepath.Join(dir, sub, file.Name()),
				Unique: unique, Date: info.ModTime().UTC(), Size: info.Size(),
			})
		}
	}
	slices.SortStableFunc(entries, func(a, b Entry) int {
		if c := a.Date.Compare(b.Date); c != 0 {
			return c
		}
		return strings.Compare(a.Unique, b.Unique)
	})
	return entries, nil
}

func parseFlags(letters string, keywords []string) (f Flags) {
	for _, l := range letters {
		switch {
		case l == 'S':
			f.Seen = true
		case l == 'R':
			f.Answered = true
		case l == 'F':
			f.Flagged = true
		case l == 'T':
			f.Deleted = true
		case l == 'D':
			f.Draft = true
		case l == 'P':
			f.Keywords = append(f.Keywords, forwarded)
		case l >= 'a' && l <= 'z' && int(l-'a') < len(keywords) && keywords[l-'a'] != "":
			f.Keywords = append(f.Keywords, keywords[l-'a'])
		}
	}
	return f
}

// letters gives the flags in the order of their letters, which the format asks for.
func (f Flags) letters(keyword func(string) (rune, bool)) string {
	var out []rune
	for _, l := range []struct {
		set    bool
		letter rune
	}{{f.Draft, 'D'}, {f.Flagged, 'F'}, {slices.Contains(f.Keywords, forwarded), 'P'}, {f.Answered, 'R'}, {f.Seen, 'S'}, {f.Deleted, 'T'}} {
		if l.set {
			out = append(out, l.letter)
		}
	}
	for _, k := range f.Keywords {
		if k == forwarded {
			continue
		}
		if l, ok := keyword(k); ok {
			out = append(out, l)
		}
	}
	slices.Sort(out)
	return string(out)
}

// Open reads a message with CRLF line ends: a file whose first line ends in LF alone has all its line ends changed.
func Open(e Entry) (io.ReadCloser, error) {
	f, err := os.Open(e.Path)
	if err != nil {
		return nil, err
	}
	return &crlfReader{file: f, in: bufio.NewReaderSize(f, 64<<10)}, nil
}

// crlfReader changes LF to CRLF if the first line asks for it.
type crlfReader struct {
	file    *os.File
	in      *bufio.Reader
	decided bool
	change  bool
	last    byte // octet before
	held    bool // an LF is due: its CR has been given
}

// Close implements io.Closer.
func (c *crlfReader) Close() error { return c.file.Close() }

// Read implements io.Reader.
func (c *crlfReader) Read(p []byte) (n int, err error) {
	if !c.decided {
		head, _ := c.in.Peek(c.in.Size()) // an error comes again
		i := slices.Index(head, '\n')
		c.decided, c.change = true, i == 0 || i > 0 && head[i-1] != '\r'
	}
	if !c.change {
		return c.in.Read(p)
	}
	for n < len(p) {
		if c.held {
			p[n], c.held, c.last = '\n', false, '\n'
			n++
			continue
		}
		b, err := c.in.ReadByte()
		if err != nil {
			if n > 0 {
				return n, nil
			}
			return 0, err
		}
		if b == '\n' && c.last != '\r' {
			b, c.held = '\r', true
		}
		p[n], c.last = b, b
		n++
	}
	return n, nil
}
