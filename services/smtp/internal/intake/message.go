package intake

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/yubin-mail/yubin/pkg/message"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
)

// Message is a message whose header has been read and whose body is still to come.
type Message struct {
	// Header is the message header as it came, the blank line included if there was one.
	Header []byte
	// Body yields what follows. It fails with ErrBareLineEnd or ErrTooLarge, or with the error of the connection.
	Body io.Reader
}

// Limits of a message, in octets.
type Limits struct {
	Message int64
	Header  int
}

// Read reads a message's header from r, which yields the content of DATA or BDAT.
func Read(r io.Reader, limits Limits) (*Message, error) {
	buf := bufio.NewReaderSize(&lineReader{r: r, left: limits.Message}, 16<<10)
	var header []byte
	for {
		line, err := buf.ReadSlice('\n')
		if len(header)+len(line) > limits.Header {
			return nil, ErrHeaderTooLarge
		}
		// A first line that is no header field: the message has no header (RFC 5322 section 2.1 wants one, mail has all).
		header = append(header, line...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return &Message{Header: header, Body: buf}, nil
		case err != nil:
			return nil, err
		case len(line) == 2 && endsLine(header[:len(header)-2]):
			return &Message{Header: header, Body: buf}, nil
		}
	}
}

// endsLine tells that what comes after b begins a line.
func endsLine(b []byte) bool { return len(b) == 0 || b[len(b)-1] == '\n' }

// DeliveredTo tells whether the message has been delivered to the address before: it comes back in a loop.
func (m *Message) DeliveredTo(address string) bool {
	for f := range message.EachHeader(m.Header) {
		if f.Is("Delivered-To") && bytes.EqualFold(message.Unfold(f.Value), []byte(address)) {
			return true
		}
	}
	return false
}

// Count counts the header's fields of a name. Of Received: the servers that the message has passed (RFC 5321 section 6.3).
func (m *Message) Count(name string) int {
	n := 0
	for f := range message.EachHeader(m.Header) {
		if f.Is(name) {
			n++
		}
	}
	return n
}

// Authors are the addresses of From and Sender (RFC 5322 section 3.6.2), without those that cannot be read.
func (m *Message) Authors() []string {
	structure, err := message.Parse(bytes.NewReader(m.Header), int64(len(m.Header)), message.DefaultLimits())
	if err != nil {
		return nil // a reader in memory does not fail
	}
	var out []string
	for _, list := range [][]*mailv1.Address{structure.GetEnvelope().GetFrom(), structure.GetEnvelope().GetSender()} {
		for _, a := range list {
			if address := string(a.GetMailbox()) + "@" + string(a.GetHost()); a.Mailbox != nil && a.Host != nil && !slices.Contains(out, address) {
				out = append(out, address)
			}
		}
	}
	return out
}
