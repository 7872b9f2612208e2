package indexer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/job"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/search"
	"github.com/yubin-mail/yubin/services/storage/internal/textindex"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

const (
	// stepMessages and stepBytes bound the messages whose texts are stored in one transaction, and those texts.
	stepMessages = 64
	stepBytes    = 4 << 20
)

// step indexes some of a mailbox. done says that it is up to date, left about how many messages are not.
func (x *Indexer) step(ctx context.Context, key meta.MailboxKey) (done bool, left int64, err error) {
	mark, err := x.Meta.TextMark(ctx, key)
	if err != nil {
		return false, 0, err
	}
	if mark.Foreign {
		return true, 0, nil
	}
	if mark.Stale {
		if err := x.Meta.RenewTexts(ctx, key); err != nil {
			return false, 0, fmt.Errorf("set the index back: %w", err)
		}
		return false, int64(mark.UIDNext), nil
	}
	left = int64(mark.UIDNext) - int64(mark.Next)
	if left <= 0 {
		return true, 0, x.seal(ctx, key)
	}
	wanted, last, err := x.Meta.Textless(ctx, key, mark)
	if err != nil {
		return false, left, err
	}
	if last == 0 { // all that are left were expunged
		_, err := x.Meta.KeepTexts(ctx, key, mark, mark.UIDNext, nil)
		return false, left, err
	}
	texts, upTo, err := x.read(ctx, key, wanted, last)
	if err != nil {
		return false, left, err
	}
	if err := x.pace(ctx, len(texts)); err != nil {
		return false, left, err
	}
	if _, err := x.Meta.KeepTexts(ctx, key, mark, upTo+1, texts); err != nil {
		return false, left, fmt.Errorf("store texts: %w", err)
	}
	for _, t := range texts {
		x.metrics.bytes.WithLabelValues("text").Add(float64(len(t)))
	}
	if upTo/textindex.SegmentDocs > mark.Next/textindex.SegmentDocs { // not only at the end, which is far off while much comes in
		err = x.seal(ctx, key)
	}
	return false, max(left-int64(len(texts)), 1), err
}

// read makes the texts of messages, by content. upTo is the UID up to which nothing is left: last, unless they are too many.
func (x *Indexer) read(ctx context.Context, key meta.MailboxKey, wanted uidset.Set, last uint32) (texts map[string][]byte, upTo uint32, err error) {
	texts = map[string][]byte{}
	size := 0
	for after := uint32(0); ; {
		page, more, err := x.Meta.Messages(ctx, key.AccountID, key.MailboxID, wanted, after, meta.Wanted{Header: true, Summary: true, Root: true})
		if err != nil {
			return nil, 0, err
		}
		if room := stepMessages - len(texts); len(page) > room {
			page, more = page[:room], true
		}
		locations := make([]body.Location, len(page))
		for i, m := range page {
			if needsBody(m) {
				locations[i] = m.Location
			}
		}
		bodies := x.Bodies.ReadMany(ctx, locations)
		for i, m := range page {
			text, err := x.text(ctx, key.AccountID, m, bodies[i])
			if err != nil {
				return nil, 0, fmt.Errorf("read message: %w", err)
			}
			texts[m.EmailID] = text
			size += len(text)
			after = m.State.GetUid()
			x.metrics.bytes.WithLabelValues("message").Add(float64(m.State.GetSize()))
			if size >= stepBytes || len(texts) >= stepMessages {
				if i+1 < len(page) || more {
					return texts, after, nil
				}
			}
		}
		if !more || len(page) == 0 {
			return texts, last, nil
		}
	}
}

// needsBody tells whether anything but the stored header is looked at.
func needsBody(m *meta.Message) bool {
	return len(m.Header) == 0 || m.Location.Size > m.HeaderSize
}

// text makes the text of a message as it is stored. One that is damaged or gone has none that is known; other failures pass, and are errors.
func (x *Indexer) text(ctx context.Context, account string, m *meta.Message, content []byte) ([]byte, error) {
	src := &source{ctx: ctx, x: x, account: account, message: m}
	if content != nil {
		src.body = bytes.NewReader(content)
	}
	t, err := search.Extract(ctx, src, x.Limits)
	switch {
	case err == nil && t.Partial:
		x.metrics.messages.WithLabelValues("partial").Inc()
	case err == nil:
		x.metrics.messages.WithLabelValues("ok").Inc()
	case errors.Is(err, body.ErrCorrupt), status.Code(err) == codes.NotFound, status.Code(err) == codes.DataLoss:
		x.metrics.messages.WithLabelValues("unreadable").Inc()
		t = &search.Text{Partial: true}
	default:
		return nil, err
	}
	return textindex.EncodeText(t)
}

// source is a message without what goes before it, which differs between recipients.
type source struct {
	ctx     context.Context
	x       *Indexer
	account string
	message *meta.Message
	body    io.ReaderAt
}

func (s *source) Structure() (*mailv1.Structure, error) {
	structure := s.message.Summary
	structure.Root = s.message.Root
	return structure, nil
}

func (s *source) Header() ([]byte, error) {
	m := s.message
	if int64(len(m.Header)) == m.HeaderSize {
		return m.Header, nil
	}
	header := make([]byte, m.HeaderSize)
	in, err := s.Open()
	if err != nil {
		return nil, err
	}
	if n, err := in.ReadAt(header, 0); err != nil && (!errors.Is(err, io.EOF) || n < len(header)) {
		return nil, err
	}
	return header, nil
}

func (s *source) Open() (io.ReaderAt, error) {
	if s.body == nil {
		s.body = s.x.Open(s.ctx, s.account, s.message)
	}
	return s.body, nil
}

// pace waits until n messages may be indexed.
func (x *Indexer) pace(ctx context.Context, n int) error {
	if err := job.Yield(ctx, x.Busy, busyPause, n); err != nil {
		return err
	}
	return x.limit.WaitN(ctx, n)
}

// smallGap is how few messages between segments are left to their texts.
const smallGap = 64

// seal makes segments of what is in none, where it is enough for one.
func (x *Indexer) seal(ctx context.Context, key meta.MailboxKey) error {
	gaps, err := x.Meta.TextGaps(ctx, key)
	if err != nil {
		return err
	}
	for _, gap := range gaps {
		enough := int64(smallGap)
		if gap.Tail {
			enough = textindex.SegmentDocs
		}
		for gap.Messages >= enough {
			docs, last, err := x.sealOne(ctx, key, gap.Range)
			if err != nil {
				return fmt.Errorf("make a segment: %w", err)
			}
			if docs == 0 {
				break
			}
			gap.Messages -= int64(docs)
			gap.Start = last + 1
		}
	}
	return nil
}

// sealOne makes a segment of the first messages of a gap, and tells how many they were, 0 if another one was quicker.
func (x *Indexer) sealOne(ctx context.Context, key meta.MailboxKey, gap uidset.Range) (docs int, last uint32, err error) {
	x.sealing.Lock()
	defer x.sealing.Unlock()
	b := textindex.NewBuilder()
	err = x.Meta.TextsOf(ctx, key, uidset.Set{gap}, func(k meta.KeptText) bool {
		var t *search.Text
		if k.Text != nil {
			if d, err := textindex.DecodeText(k.Text); err == nil { // else its message is looked into
				t = d
			}
		}
		if t != nil && len(k.Prefix) > 0 {
			t.Header = search.HeaderText(k.Prefix) + t.Header
		}
		b.Add(k.UID, t)
		return !b.Full()
	})
	if err != nil || b.Docs() == 0 {
		return 0, 0, err
	}
	if err := x.pace(ctx, 1); err != nil {
		return 0, 0, err
	}
	segment, err := b.Segment()
	if err != nil {
		return 0, 0, err
	}
	ok, err := x.Meta.AddSegment(ctx, key, gap.Start, segment)
	if err != nil || !ok {
		return 0, 0, err
	}
	x.metrics.segments.Inc()
	x.metrics.bytes.WithLabelValues("segment").Add(float64(segment.Size()))
	return segment.Docs, segment.Last, nil
}
