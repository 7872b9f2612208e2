package render

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/imapcheck"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// roundTrip sends a rendered message to a real client and returns what the client understood.
func roundTrip(t *testing.T, root *mailv1.Part, e *mailv1.Envelope, extended, allowUTF8 bool) *imapclient.FetchMessageBuffer {
	t.Helper()
	server, client := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- serve(server, root, e, extended, allowUTF8) }()
	c := imapclient.New(client, nil)
	messages, err := c.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{
		Envelope: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: extended},
	}).Collect()
	if err != nil {
		t.Fatalf("client: %v\nENVELOPE %s\nBODYSTRUCTURE %s", err, AppendEnvelope(nil, e, allowUTF8), AppendBody(nil, root, extended, allowUTF8))
	}
	if err := <-served; err != nil {
		t.Fatalf("server: %v", err)
	}
	_ = c.Close()
	_ = server.Close()
	if len(messages) != 1 || messages[0].Envelope == nil || messages[0].BodyStructure == nil {
		t.Fatalf("client understood %+v", messages)
	}
	return messages[0]
}

func serve(conn net.Conn, root *mailv1.Part, e *mailv1.Envelope, extended, allowUTF8 bool) error {
	enc := wire.NewEncoder(conn)
	enc.Untagged(wire.StatusPreauth, "CAPABILITY IMAP4rev1", "hello")
	if err := enc.Flush(); err != nil {
		return err
	}
	dec := wire.NewDecoder(conn, wire.NewGrammar(), wire.Limits{})
	tag, name, err := dec.Command()
	if err != nil || name != "FETCH" {
		return fmt.Errorf("command %q: %w", name, err)
	}
	if _, err := dec.FetchArgs(); err != nil {
		return err
	}
	item := " BODY "
	if extended {
		item = " BODYSTRUCTURE "
	}
	enc.Star().Raw("1 FETCH (ENVELOPE ").RawBytes(AppendEnvelope(nil, e, allowUTF8))
	enc.Raw(item).RawBytes(AppendBody(nil, root, extended, allowUTF8)).Close().CRLF()
	enc.Tagged(tag, wire.StatusOK, "", "done")
	return enc.Flush()
}

func TestClientReadsExample(t *testing.T) {
	root := parse(t, rfcMessage)
	e := &mailv1.Envelope{Subject: []byte("生 日本語"), From: []*mailv1.Address{address("Jos\xe9 é", "jose", "a.test")}}
	got := roundTrip(t, root, e, true, false)
	if got.Envelope.Subject != "生 日本語" {
		t.Errorf("subject %q", got.Envelope.Subject)
	}
	// One guess for a run of words: it is not UTF-8, so all of it is Windows-1252.
	if name := got.Envelope.From[0].Name; name != "José Ã©" {
		t.Errorf("name %q", name)
	}
	var paths []string
	got.BodyStructure.Walk(func(path []int, _ imap.BodyStructure) bool {
		paths = append(paths, strings.Trim(strings.ReplaceAll(fmt.Sprint(path), " ", "."), "[]"))
		return true
	})
	// Walk does not number the parts of embedded messages.
	if got, want := strings.Join(paths, " "), " 1 2 3 4 4.1 4.2"; got != want {
		t.Errorf("parts %q, want %q", got, want)
	}
}

// generator draws a message from octets.
type generator struct {
	data  []byte
	parts int
}

func (g *generator) n(limit int) int {
	if len(g.data) == 0 {
		return 0
	}
	c := g.data[0]
	g.data = g.data[1:]
	return int(c) % limit
}

func (g *generator) bytes() []byte {
	n := min(g.n(24), len(g.data))
	b := g.data[:n:n]
	g.data = g.data[n:]
	return b
}

func (g *generator) string() string { return strings.ToValidUTF8(string(g.bytes()), "") }

func (g *generator) params() (out []*mailv1.Param) {
	for range g.n(4) {
		out = append(out, &mailv1.Param{Name: g.string(), Value: g.bytes()})
	}
	return out
}

func (g *generator) addresses() (out []*mailv1.Address) {
	for range g.n(4) {
		a := &mailv1.Address{}
		for i, field := range []*[]byte{&a.Name, &a.Adl, &a.Mailbox, &a.Host} {
			if g.n(8) > i%2 {
				*field = append([]byte{}, g.bytes()...)
			}
		}
		out = append(out, a)
	}
	return out
}

func (g *generator) envelope() *mailv1.Envelope {
	if g.n(8) == 7 {
		return nil
	}
	return &mailv1.Envelope{
		Date: g.bytes(), Subject: g.bytes(), From: g.addresses(), Sender: g.addresses(), ReplyTo: g.addresses(), To: g.addresses(),
		Cc: g.addresses(), Bcc: g.addresses(), InReplyTo: g.bytes(), MessageId: g.bytes(),
	}
}

func (g *generator) part(depth int) *mailv1.Part {
	g.parts++
	p := &mailv1.Part{
		Params: g.params(), Id: g.bytes(), Description: g.bytes(), Encoding: g.string(), Md5: g.bytes(), Disposition: g.string(),
		DispositionParams: g.params(), Location: g.bytes(),
	}
	for range g.n(3) {
		p.Languages = append(p.Languages, g.string())
	}
	if len(g.data) >= 4 {
		p.BodySize = uint64(binary.BigEndian.Uint32(g.data) >> 1)
		p.Lines = p.BodySize / 7
	}
	kinds := []string{"text/plain", "multipart/mixed", "message/rfc822", "Message/Global", "image/png", "message/partial", "", "MULTIPART/x"}
	kind := kinds[g.n(len(kinds))]
	p.Type, p.Subtype, _ = strings.Cut(kind, "/")
	if g.n(10) == 9 {
		p.Type, p.Subtype = g.string(), g.string()
	}
	if depth > 6 || g.parts > 50 {
		return p
	}
	switch {
	case isMultipart(p):
		for range g.n(4) {
			p.Children = append(p.Children, g.part(depth+1))
		}
	case isMessageType(p) && g.n(4) > 0:
		p.Envelope = g.envelope()
		p.Children = []*mailv1.Part{g.part(depth + 1)}
	}
	return p
}

// compare checks that the client saw the tree as it is.
func compare(t *testing.T, p *mailv1.Part, got imap.BodyStructure) {
	t.Helper()
	switch got := got.(type) {
	case *imap.BodyStructureMultiPart:
		kids := children(p)
		if !isMultipart(p) || len(got.Children) != len(kids) {
			t.Fatalf("%s/%s with %d parts became a multipart of %d", p.GetType(), p.GetSubtype(), len(kids), len(got.Children))
		}
		for i, child := range kids {
			compare(t, child, got.Children[i])
		}
	case *imap.BodyStructureSinglePart:
		if isMultipart(p) || uint64(got.Size) != p.GetBodySize() {
			t.Fatalf("%s/%s of %d octets became %s/%s of %d", p.GetType(), p.GetSubtype(), p.GetBodySize(), got.Type, got.Subtype, got.Size)
		}
		if isMessage(p) && got.MessageRFC822 != nil {
			compare(t, p.GetChildren()[0], got.MessageRFC822.BodyStructure)
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add([]byte(""), false)
	f.Add([]byte(rfcMessage), false)
	f.Add([]byte("\x02\x05ab\xe9\xff\x00\"\\\r\n{3}\x1b$BF|K\\\x1b(B =?utf-8?q?x?= é\x01\x01\x01\x07\x03日本\x02\x02\x02"), true)
	for i := range 8 {
		f.Add([]byte(strings.Repeat(string(rune('a'+i))+"\x01\x02\x03\x02\xc3\xa9\x01", 40)), i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, data []byte, allowUTF8 bool) {
		g := &generator{data: data}
		e := g.envelope()
		root := g.part(0)
		for _, extended := range []bool{true, false} {
			body, envelope := string(AppendBody(nil, root, extended, allowUTF8)), string(AppendEnvelope(nil, e, allowUTF8))
			if err := errors.Join(imapcheck.Body(body, extended, allowUTF8), imapcheck.Envelope(envelope, allowUTF8)); err != nil {
				t.Fatalf("%v in %q or %q", err, body, envelope)
			}
			compare(t, root, roundTrip(t, root, e, extended, allowUTF8).BodyStructure)
		}
	})
}

// FuzzSection asks for every part of what the parser made of a message: no extent leaves the message.
func FuzzSection(f *testing.F) {
	f.Add([]byte(rfcMessage), []byte{4, 2, 2, 1})
	f.Add([]byte("A: b"), []byte{1})
	f.Fuzz(func(t *testing.T, msg, numbers []byte) {
		root := parse(t, string(msg))
		path := make([]int, 0, len(numbers))
		for _, n := range numbers {
			path = append(path, int(n))
		}
		for _, spec := range []string{"", "HEADER", "TEXT", "MIME", "HEADER.FIELDS"} {
			if e, ok := Locate(root, &wire.Section{Path: path, Specifier: spec}); ok && e.Offset+e.Size > uint64(len(msg)) {
				t.Fatalf("%v %s: %v of %d octets", path, spec, e, len(msg))
			}
		}
		with := FilterHeader(msg, []string{"from", "To"}, false)
		without := FilterHeader(msg, []string{"from", "To"}, true)
		if len(with)+len(without) > len(msg)+len(blankLine(msg)) {
			t.Fatalf("%q and %q are more than %q", with, without, msg)
		}
	})
}
