package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// CATENATE: RFC 4469, with parts of parts: URL-PARTIAL (RFC 5550 section 5).
func init() {
	register(extension{capabilities: []capability{{name: "CATENATE", when: whenLoggedIn}, {name: "URL-PARTIAL", when: whenLoggedIn}}})
}

// catenation is a message that a client has put together of what it sends and what is there. It is read while it comes.
type catenation struct {
	*appending
	ctx  context.Context
	part io.Reader // nil between parts
	free func()
	size int64
	end  bool
}

// Read implements io.Reader.
func (c *catenation) Read(p []byte) (int, error) {
	for {
		if c.end {
			return 0, io.EOF
		}
		if c.part == nil {
			if err := c.next(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := c.part.Read(p)
		if errors.Is(err, io.EOF) {
			err = nil
			c.close()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (c *catenation) close() {
	if c.free != nil {
		c.free()
	}
	c.part, c.free = nil, nil
}

// next opens the next part.
func (c *catenation) next() error {
	part, more, err := c.dec.CatenatePart()
	switch {
	case err != nil:
		return err
	case !more && c.size == 0:
		return errEmpty
	case !more:
		c.end = true
		return nil
	case part.URL == "":
		if err := c.grow(part.Size); err != nil {
			return err
		}
		if c.part, err = c.dec.Literal(); err == nil && part.Binary {
			c.part = &nulFinder{r: c.part}
		}
		return err
	}
	opened, err := c.open(part.URL)
	if err != nil {
		return err
	}
	if err := c.grow(int64(opened.size)); err != nil {
		opened.free()
		return err
	}
	c.part, c.free = opened.body, opened.free
	return nil
}

// grow refuses a message that gets too large before what is too much of it is sent.
func (c *catenation) grow(n int64) error {
	if c.size += n; c.size > c.Limits.MessageSize {
		return no("TOOBIG", "message is larger than "+itoa(uint64(c.Limits.MessageSize))+" octets")
	}
	return nil
}

// open finds what a URL names.
func (c *catenation) open(text string) (*part, error) {
	badURL := no("BADURL "+quoted(text), "the URL leads to nothing")
	u, ok := parseMessageURL(text)
	if !ok {
		return nil, badURL
	}
	ctx, cancel := c.rpc(c.ctx)
	defer cancel()
	box, err := c.mailboxNamed(ctx, u.mailbox)
	if fault.Is(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND) || fault.Is(err, rpcv1.Reason_REASON_NOT_PERMITTED) || err == nil && u.uidValidity != 0 && box.GetUidValidity() != u.uidValidity {
		return nil, badURL
	}
	if err != nil {
		return nil, err
	}
	stream, err := c.Storage.Fetch(ctx, &storagev1.FetchRequest{
		AccountId: box.asked(), MailboxId: box.GetMailboxId(), Uids: []*storagev1.UidRange{{Start: u.uid, Stop: u.uid}}, Actor: box.actor,
		Structure: true, Header: topHeader(u.section),
	})
	if err != nil {
		return nil, err
	}
	answer, err := stream.Recv()
	if errors.Is(err, io.EOF) || err == nil && len(answer.GetMessages()) == 0 {
		return nil, badURL
	}
	if err != nil {
		return nil, err
	}
	info := answer.GetMessages()[0]
	m := &fetched{of: &box, info: info, state: view.Message{UID: u.uid, Size: info.GetState().GetSize()}}
	p, err := openSection(c.ctx, c.session, m, wire.Item{Name: "BODY", Arg: u.section})
	if isGone(err) || err == nil && p.absent {
		return nil, badURL
	}
	return p, err
}

// messageURL is a URL of a message or a part of it (RFC 5092 section 6).
type messageURL struct {
	mailbox     string
	uidValidity uint32 // 0: any
	uid         uint32
	section     *wire.Section
}

// parseMessageURL reads an absolute path, the form in which a client names what is on the server that it talks to: RFC 4469 section 3, and
// imessagepart of RFC 5092 section 11, but that a "/" may be missing before a parameter, as it is in examples. A relative one is refused: RFC 5092 section 7.2.
func parseMessageURL(text string) (u messageURL, ok bool) {
	rest, ok := strings.CutPrefix(text, "/")
	if !ok || strings.HasPrefix(rest, "/") || !isURL(rest) {
		return u, false
	}
	path, params, _ := strings.Cut(withoutDotSegments(rest), ";")
	if u.mailbox, ok = unescape(strings.TrimSuffix(path, "/")); !ok || u.mailbox == "" {
		return u, false
	}
	u.section = &wire.Section{Peek: true}
	var partial *wire.Partial
	last := 0 // they come in one order
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSuffix(param, "/"), "=")
		if value, ok = unescape(value); !ok {
			return u, false
		}
		rank := map[string]int{"UIDVALIDITY": 1, "UID": 2, "SECTION": 3, "PARTIAL": 4}[strings.ToUpper(name)]
		if rank <= last {
			return u, false
		}
		last = rank
		switch rank {
		case 1:
			u.uidValidity, ok = nzNumber(value)
		case 2:
			u.uid, ok = nzNumber(value)
		case 3:
			u.section, ok = wire.ParseSection(value)
		case 4:
			partial, ok = parsePartialURL(value)
		}
		if !ok {
			return u, false
		}
	}
	if partial != nil {
		u.section.Partial = partial
	}
	return u, u.uid > 0
}

// isURL tells whether a text has only what may stand in a path of a URL (bchar and ";" of RFC 5092 section 11).
func isURL(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-._~%!$'()*+,&=:@/;", c) < 0:
			return false
		}
	}
	return true
}

// withoutDotSegments resolves "." and ".." in a path that begins at the root: RFC 3986 section 5.2.4, RFC 5092 section 9.1.
func withoutDotSegments(path string) string {
	if !strings.Contains(path, ".") {
		return path
	}
	var out []string
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		switch segment {
		case ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, segment)
			continue
		}
		if last {
			out = append(out, "")
		}
	}
	return strings.Join(out, "/")
}

func unescape(s string) (string, bool) {
	out, err := url.PathUnescape(s)
	return out, err == nil
}

func nzNumber(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n > 0 && s[0] != '+'
}

// parsePartialURL reads "offset" or "offset.length" (RFC 5092 section 4).
func parsePartialURL(s string) (*wire.Partial, bool) {
	offset, length, bounded := strings.Cut(s, ".")
	from, err := strconv.ParseUint(offset, 10, 63)
	if err != nil {
		return nil, false
	}
	p := &wire.Partial{Offset: from, Length: 1 << 62}
	if !bounded {
		return p, true
	}
	p.Length, err = strconv.ParseUint(length, 10, 62)
	return p, err == nil && p.Length > 0
}

// quoted makes a quoted string of a URL for a response code (url-resp-text of RFC 4469 section 5), which has to stay within its brackets and on its line. Such octets
// have to be encoded in a URL.
func quoted(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == ']' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return `"` + b.String() + `"`
}
