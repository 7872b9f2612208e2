package api

import (
	"context"
	"io"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/search"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// textsOf says what a candidate knows of its indexed text.
type textsOf int

const (
	textsNone  textsOf = iota // there is none: the message was read from the database with all that is wanted
	textsLater                // there is one: it is read if need be
	textsKnown                // it was read
)

// candidate is a message as the recipient has it, read as far as the search needs it.
type candidate struct {
	*searching
	ctx     context.Context
	message *meta.Message
	texts   textsOf
	kept    *search.Text
	loaded  bool // all of message
}

var (
	_ search.Candidate = (*candidate)(nil)
	_ search.Indexed   = (*candidate)(nil)
)

func (c *candidate) State() *storagev1.MessageState { return c.message.State }
func (c *candidate) EmailID() string                { return c.message.EmailID }
func (c *candidate) ThreadID() string               { return c.message.ThreadID }
func (c *candidate) SentUnix() int64                { return c.message.SentUnix }

// Lookup implements search.Indexed.
func (c *candidate) Lookup(needle int) search.Answer {
	if c.index == nil {
		return search.Unknown
	}
	return c.index.lookup(needle, c.message.State.GetUid())
}

// Text implements search.Indexed.
func (c *candidate) Text() (*search.Text, error) {
	if c.texts == textsLater {
		return nil, errWantsText
	}
	return c.kept, nil
}

// load reads the rest of a message that was read without what only few need.
func (c *candidate) load() error {
	if c.loaded || c.texts == textsNone {
		return nil
	}
	page, _, err := c.Meta.Messages(c.ctx, c.account, c.request.GetMailboxId(), uidset.Of(c.message.State.GetUid()), 0,
		meta.Wanted{Header: true, Summary: true, Root: true})
	if err != nil {
		return err
	}
	if len(page) == 0 {
		return errGone
	}
	c.message, c.loaded = page[0], true
	return nil
}

func (c *candidate) Header() ([]byte, error) {
	if err := c.load(); err != nil {
		return nil, err
	}
	return c.header(c.ctx, c.account, c.message)
}

// Structure is there if the search reads bodies; the others need it of few messages, so that it is read for each alone.
func (c *candidate) Structure() (*mailv1.Structure, error) {
	if m := c.message; m.Summary != nil && m.Root != nil {
		return structureOf(m), nil
	}
	uid := c.message.State.GetUid()
	page, _, err := c.Meta.Messages(c.ctx, c.account, c.request.GetMailboxId(), uidset.Of(uid), 0,
		meta.Wanted{Summary: true, Root: true})
	if err != nil {
		return nil, err
	}
	if len(page) == 0 { // expunged meanwhile
		return &mailv1.Structure{Root: &mailv1.Part{}}, nil
	}
	return structureOf(page[0]), nil
}

func structureOf(m *meta.Message) *mailv1.Structure {
	structure := m.Summary
	structure.Root = withPrefix(m.Root, len(m.Prefix))
	return structure
}

func (c *candidate) Open() (io.ReaderAt, error) {
	if err := c.load(); err != nil {
		return nil, err
	}
	c.searches.messages.WithLabelValues("body").Inc()
	return &metered{
		ReaderAt: &prefixed{prefix: c.message.Prefix, body: c.body(c.ctx, c.account, c.message)}, search: c.searching,
	}, nil
}

// prefixed is a body behind its prefix.
type prefixed struct {
	prefix []byte
	body   io.ReaderAt
}

func (p *prefixed) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	if off < int64(len(p.prefix)) {
		n = copy(b, p.prefix[off:])
	}
	if n == len(b) {
		return n, nil
	}
	rest, err := p.body.ReadAt(b[n:], off+int64(n)-int64(len(p.prefix)))
	return n + rest, err
}
