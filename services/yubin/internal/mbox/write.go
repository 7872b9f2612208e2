package mbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Writer writes mboxrd with LF line ends.
type Writer struct{ w *bufio.Writer }

// NewWriter makes a Writer. Flush it at the end.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, lineBuffer)} }

// Flush writes what is buffered.
func (w *Writer) Flush() error { return w.w.Flush() }

// Write adds a message. Its mailbox, flags and keywords go into lines at its top, which Scan takes off again.
func (w *Writer) Write(meta Meta, message io.Reader) error {
	fmt.Fprintf(w.w, "From MAILER-DAEMON %s\n", meta.Date.UTC().Format(time.ANSIC)) // errors stay in w until Flush
	fmt.Fprintf(w.w, "X-Yubin-Mailbox: %s\n", encodeValue(meta.Mailbox))
	if len(meta.Keywords) > 0 {
		fmt.Fprintf(w.w, "X-Keywords: %s\n", strings.Join(meta.Keywords, " "))
	}
	fmt.Fprintf(w.w, "Status: %sO\nX-Status: %s%s%s%s\n", letter(meta.Seen, "R"),
		letter(meta.Answered, "A"), letter(meta.Flagged, "F"), letter(meta.Deleted, "D"), letter(meta.Draft, "T"))
	lines := bufio.NewReaderSize(message, lineBuffer)
	continuing, inHeader := false, true
	for {
		part, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return err
		}
		if len(part) > 0 {
			whole := part[len(part)-1] == '\n'
			if !continuing {
				inHeader = inHeader && len(bytes.TrimRight(part, "\r\n")) > 0
				if !inHeader && bytes.HasPrefix(bytes.TrimLeft(part, ">"), []byte("From ")) {
					_ = w.w.WriteByte('>') // errors stay in w until Flush
				}
			}
			continuing = !whole
			if whole && bytes.HasSuffix(part, []byte("\r\n")) {
				part = append(part[:len(part)-2:len(part)-2], '\n')
			}
			if _, err := w.w.Write(part); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
	}
	if continuing { // an mbox cannot hold a message without a last line end
		_ = w.w.WriteByte('\n')
	}
	return w.w.WriteByte('\n')
}

func letter(set bool, s string) string {
	if set {
		return s
	}
	return ""
}
