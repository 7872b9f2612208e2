// Package wire reads POP3's lines and writes its answers.
package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	// MaxCommand is the longest command in octets, CRLF included (RFC 2449 section 4).
	MaxCommand = 255
	// maxDiscard bounds what is read to find the end of a line that is too long.
	maxDiscard = 64 << 10
)

var (
	// ErrTooLong is returned for a line that is too long; the reader is behind its end.
	ErrTooLong = errors.New("line too long")
	// ErrFlood is returned when a line does not end at all.
	ErrFlood = errors.New("line without end")
)

// Reader reads lines in bounded memory.
type Reader struct {
	br *bufio.Reader
}

// NewReader makes a reader.
func NewReader(r io.Reader) *Reader { return &Reader{bufio.NewReaderSize(r, 1024)} }

// ReadLine reads a line of up to limit octets with its line end, which is taken off. A bare LF ends a line too: people type into
// telnet, and nothing in POP3 is quoted so that this could hide a command.
func (r *Reader) ReadLine(limit int) (string, error) {
	var line []byte
	for {
		part, err := r.br.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return "", r.discard(err)
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		}
	}
}

// discard reads on to the end of the line that ReadSlice gave a part of.
func (r *Reader) discard(err error) error {
	for n := 0; errors.Is(err, bufio.ErrBufferFull); {
		var part []byte
		part, err = r.br.ReadSlice('\n')
		if n += len(part); n > maxDiscard {
			return ErrFlood
		}
	}
	if err != nil {
		return err
	}
	return ErrTooLong
}

// Command is a line from the client.
type Command struct {
	Name string // in upper case
	// Arg is all that follows the first space, which may hold spaces itself.
	Arg string
}

// ErrSyntax is returned by Parse for what is no command.
var ErrSyntax = errors.New("syntax error")

// maxKeyword bounds a keyword; all that exist have three or four letters.
const maxKeyword = 8

// Parse takes a command line apart (RFC 1939 section 3).
func Parse(line string) (Command, error) {
	name, arg, _ := strings.Cut(line, " ")
	if name == "" || len(name) > maxKeyword {
		return Command{}, ErrSyntax
	}
	for i := range len(name) {
		if c := name[i] | 0x20; (c < 'a' || c > 'z') && (name[i] < '0' || name[i] > '9') {
			return Command{}, ErrSyntax
		}
	}
	if i := strings.IndexFunc(arg, isControl); i >= 0 {
		return Command{}, fmt.Errorf("%w: control character", ErrSyntax)
	}
	return Command{Name: strings.ToUpper(name), Arg: arg}, nil
}

// isControl does not count the tab, which a password may hold.
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
