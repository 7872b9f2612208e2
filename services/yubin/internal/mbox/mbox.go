// Package mbox reads and writes mbox files (RFC 4155 and its relatives mboxo and mboxrd).
//
// A message begins with a line "From sender date", at the start of the file or after a blank line. In mboxrd, lines of the body
// that begin with "From " after any number of '>' have one '>' more; in mboxo only "From " itself has one. The writer writes
// mboxrd.
package mbox

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// ErrFormat is returned for a file that is no mbox.
var ErrFormat = errors.New(`not an mbox: it does not begin with a "From " line`)

// Format of the escapes.
type Format int

// The formats.
const (
	RD Format = iota // mboxrd: ">>From " stands for ">From "
	O                // mboxo: only ">From " is an escape
)

// Meta is what an mbox tells of a message beside its text: lines that mail programs put into its header.
type Meta struct {
	Seen, Answered, Flagged, Deleted, Draft bool
	Keywords                                []string
	Mailbox                                 string    // of the files that this package writes, else empty
	Date                                    time.Time // of the From line, or else of the Date field; zero if there is none
}

// Entry is where a message is.
type Entry struct {
	Meta
	Start, End int64    // octets in the file, the From line included, the blank line after it not
	Size       int64    // octets of the message, with CRLF line ends
	Digest     [32]byte // SHA-256 of the message
}

// lineBuffer is the part of a line that is looked at; lines may be of any length.
const lineBuffer = 64 << 10

// maxMetaLine bounds a line whose value is kept, in octets.
const maxMetaLine = 4096

// fromLine has a time and a year, in either order, or nothing: to tell it from a sentence that begins with "From".
var fromLine = regexp.MustCompile(`^From (?:.*\d{1,2}:\d{2}.*\b(?:19|20)\d{2}\b.*|\s*)$`)

func isFromLine(line []byte) bool {
	if !bytes.HasPrefix(line, []byte("From ")) {
		return false
	}
	return fromLine.Match(bytes.TrimRight(line[:min(len(line), maxMetaLine)], "\r\n"))
}

// Scan finds the messages of a file of so many octets and calls found for each. It takes memory for one line's part only.
func Scan(r io.ReaderAt, size int64, format Format, found func(Entry) error) error {
	var (
		lines      = bufio.NewReaderSize(io.NewSectionReader(r, 0, size), lineBuffer)
		offset     int64 // of the line
		start      int64 = -1
		blank            = int64(0) // octets of the blank line before, 0 if there is none
		continuing       = false    // the line began in an earlier part
	)
	emit := func(end int64) error {
		if start < 0 {
			return nil
		}
		e, err := measure(r, start, end, format)
		if err != nil {
			return err
		}
		return found(e)
	}
	for {
		part, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read mbox: %w", err)
		}
		if len(part) > 0 {
			switch {
			case continuing:
				blank = 0
			case (start < 0 || blank > 0) && isFromLine(part):
				if err := emit(offset - blank); err != nil {
					return err
				}
				start, blank = offset, 0
			case len(bytes.TrimRight(part, "\r\n")) == 0:
				blank = int64(len(part))
			case start < 0:
				return ErrFormat
			default:
				blank = 0
			}
			offset += int64(len(part))
			continuing = part[len(part)-1] != '\n'
		}
		if errors.Is(err, io.EOF) {
			return emit(offset - blank)
		}
	}
}

func measure(r io.ReaderAt, start, end int64, format Format) (Entry, error) {
	e := Entry{Start: start, End: end}
	m := newReader(r, start, end, format)
	sum := sha256.New()
	n, err := io.Copy(sum, m)
	if err != nil {
		return e, fmt.Errorf("read mbox: %w", err)
	}
	e.Meta, e.Size = m.meta, n
	sum.Sum(e.Digest[:0])
	return e, nil
}

// Open reads a message that Scan has found: without the From line and what mail programs added, unescaped, with CRLF line ends.
func Open(r io.ReaderAt, e Entry, format Format) io.Reader {
	return newReader(r, e.Start, e.End, format)
}

// reader turns an entry into a message, line by line.
type reader struct {
	lines      *bufio.Reader
	format     Format
	meta       Meta
	out        []byte // ready to be read
	err        error
	began      bool // the From line has been read
	inHeader   bool
	top        bool // among the lines that Writer puts at the top, of which X-Status is the last
	continuing bool // in the middle of a line
	skipping   bool // the line is left out
}

func newReader(r io.ReaderAt, start, end int64, format Format) *reader {
	return &reader{lines: bufio.NewReaderSize(io.NewSectionReader(r, start, end-start), lineBuffer), format: format, inHeader: true, top: true}
}

// Read implements io.Reader.
func (m *reader) Read(p []byte) (int, error) {
	for len(m.out) == 0 {
		if m.err != nil {
			return 0, m.err
		}
		part, err := m.lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			m.err = err
		}
		if len(part) > 0 {
			m.take(part)
		}
	}
	n := copy(p, m.out)
	m.out = m.out[n:]
	return n, nil
}

func (m *reader) take(part []byte) {
	whole := part[len(part)-1] == '\n'
	first := !m.continuing
	m.continuing = !whole
	if first {
		m.skipping = m.leaveOut(part)
	}
	if m.skipping {
		return
	}
	if first {
		part = m.unescape(part)
	}
	m.out = part
	if whole && !bytes.HasSuffix(part, []byte("\r\n")) {
		m.out = append(append(make([]byte, 0, len(part)+1), part[:len(part)-1]...), '\r', '\n')
	}
}

func (m *reader) unescape(line []byte) []byte {
	if m.inHeader || len(line) == 0 || line[0] != '>' {
		return line
	}
	rest := line[1:]
	if m.format == RD {
		rest = bytes.TrimLeft(rest, ">")
	}
	if bytes.HasPrefix(rest, []byte("From ")) {
		return line[1:]
	}
	return line
}

var (
	statusLetters  = regexp.MustCompile(`^[RO]*$`)
	xstatusLetters = regexp.MustCompile(`^[AFDT]*$`)
)

// leaveOut takes notice of the lines that are the mbox's and not the message's.
func (m *reader) leaveOut(line []byte) bool {
	if !m.began {
		m.began = true
		m.meta.Date = parseFromDate(string(bytes.TrimRight(line[:min(len(line), maxMetaLine)], "\r\n")))
		return true
	}
	if !m.inHeader {
		return false
	}
	text := bytes.TrimRight(line, "\r\n")
	if len(text) == 0 {
		m.inHeader = false
		return false
	}
	name, value, ok := strings.Cut(string(text[:min(len(text), maxMetaLine)]), ":")
	value = strings.TrimSpace(value)
	if text[0] == ' ' || text[0] == '\t' { // goes with the field that it continues (RFC 5322 section 2.2.3)
		return m.skipping
	}
	top := m.top
	m.top = false
	if !ok {
		return false
	}
	switch strings.ToLower(name) {
	case "x-yubin-mailbox": // ours only where our writer puts it
		if top && m.meta.Mailbox == "" && value != "" {
			m.meta.Mailbox, m.top = decodeValue(value), true
			return true
		}
	case "x-keywords":
		if top {
			m.meta.Keywords, m.top = strings.Fields(value), true
			return true
		}
	case "status":
		if statusLetters.MatchString(value) {
			m.meta.Seen, m.top = m.meta.Seen || strings.Contains(value, "R"), top
			return true
		}
	case "x-status":
		if xstatusLetters.MatchString(value) {
			m.meta.Answered = m.meta.Answered || strings.Contains(value, "A")
			m.meta.Flagged = m.meta.Flagged || strings.Contains(value, "F")
			m.meta.Deleted = m.meta.Deleted || strings.Contains(value, "D")
			m.meta.Draft = m.meta.Draft || strings.Contains(value, "T")
			return true
		}
	case "date":
		if m.meta.Date.IsZero() {
			m.meta.Date = parseDate(value)
		}
	}
	return false
}
