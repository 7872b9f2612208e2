package session

import (
	"context"
	"errors"
	"io"
	"math/bits"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/yubin-mail/yubin/pkg/message"
	"github.com/yubin-mail/yubin/pkg/message/text"
	"github.com/yubin-mail/yubin/pkg/rpc"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
)

// facts are what SORT and THREAD must know of messages, beyond what the view does, as bits.
type facts uint8

const (
	factCc facts = 1 << iota
	factFrom
	factTo
	factSubject
	factDisplayFrom
	factDisplayTo
	factDate
	factReferences // by the function that learn gets

	textFacts = 6 // the first ones are texts
)

func (f facts) index() int { return bits.TrailingZeros8(uint8(f)) }

// sortable is a message that is compared with others.
type sortable struct {
	index int // in the snapshot that the client was told
	state view.Message
	// sent is the Date field in Unix seconds, or the internal date without one (RFC 5256 section 2.2).
	sent int64
	// text has, at the index of each fact that was asked for, its value as it is compared; nil: all are empty.
	text *[textFacts]string
	// threaded: the message has its place in a thread.
	threaded bool
}

func (m *sortable) value(index int) string {
	if m.text == nil {
		return ""
	}
	return m.text[index]
}

func (m *sortable) number(uid bool) uint32 {
	if uid {
		return m.state.UID
	}
	return uint32(m.index + 1)
}

const (
	// maxSorted is how many messages one SORT or THREAD compares by what storage must tell of them.
	maxSorted = 100_000
	// maxCollated is how many octets of a text are compared.
	maxCollated = 128
)

// learn gives the messages of a search with what is asked for, in the order of their numbers. each, if it is not nil, is called with what
// storage tells of a message, perhaps twice.
func (s *session) learn(ctx context.Context, uids []*storagev1.UidRange, wanted facts, each func(*sortable, *storagev1.Message)) ([]*sortable, error) {
	spans := s.box.known(uids)
	total := count(spans)
	if err := s.allowed(total); err != nil {
		return nil, err
	}
	if wanted != 0 && total > maxSorted {
		return nil, no("LIMIT", "more than "+itoa(maxSorted)+" messages cannot be sorted so")
	}
	list := make([]*sortable, 0, total)
	for _, sp := range spans {
		for i, m := range s.box.told.Range(sp.from, sp.to) {
			list = append(list, &sortable{index: i, state: m, sent: m.Internal})
		}
	}
	if wanted == 0 {
		return list, nil
	}
	ctx, cancel := s.bulk(ctx)
	defer cancel()
	rest := list
	progress := s.progress(total)
	for batch := range batches(spans, fetchBatch) {
		some := rest[:count(batch)]
		rest = rest[len(some):]
		err := s.learnBatch(ctx, s.box.uidRanges(batch), some, wanted, each)
		if rpc.Lost(err) { // before it has begun to answer, gRPC itself has tried other replicas
			err = s.learnBatch(ctx, s.box.uidRanges(batch), some, wanted, each)
		}
		if err != nil {
			return nil, err
		}
		progress.at(total - len(rest))
	}
	return list, nil
}

func (s *session) learnBatch(
	ctx context.Context, uids []*storagev1.UidRange, list []*sortable, wanted facts, each func(*sortable, *storagev1.Message),
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.Storage.Fetch(ctx, &storagev1.FetchRequest{
		AccountId: s.box.asked(), MailboxId: s.box.id, Actor: s.box.actor, Uids: uids, Envelope: true, References: wanted&factReferences != 0,
	})
	if err != nil {
		return err
	}
	for {
		answer, err := recv(stream, s.Limits.RPC, cancel)
		if errors.Is(err, io.EOF) {
			return nil // what is gone meanwhile has nothing to compare
		}
		if err != nil {
			return err
		}
		for _, info := range answer.GetMessages() {
			for len(list) > 0 && list[0].state.UID < info.GetState().GetUid() {
				list = list[1:]
			}
			if len(list) > 0 && list[0].state.UID == info.GetState().GetUid() {
				list[0].fill(info.GetEnvelope(), wanted)
				if each != nil {
					each(list[0], info)
				}
			}
		}
	}
}

func (m *sortable) fill(e *mailv1.Envelope, wanted facts) {
	if sent, ok := message.ParseDate(e.GetDate()); ok {
		m.sent = sent.Unix()
	}
	for f := factCc; f.index() < textFacts; f <<= 1 {
		if wanted&f != 0 {
			if m.text == nil {
				m.text = new([textFacts]string)
			}
			m.text[f.index()] = collate(f.of(e))
		}
	}
}

// of gives a text of an envelope.
func (f facts) of(e *mailv1.Envelope) string {
	switch f {
	case factCc:
		return firstMailbox(e.GetCc())
	case factFrom:
		return firstMailbox(e.GetFrom())
	case factTo:
		return firstMailbox(e.GetTo())
	case factDisplayFrom:
		return firstDisplay(e.GetFrom())
	case factDisplayTo:
		return firstDisplay(e.GetTo())
	}
	base, _ := message.BaseSubject(text.DecodeHeader(e.GetSubject()))
	return base
}

// firstMailbox is the addr-mailbox of the first address (RFC 5256 section 3), which of a group is its name.
func firstMailbox(list []*mailv1.Address) string {
	if len(list) == 0 {
		return ""
	}
	return text.DecodeHeader(list[0].GetMailbox())
}

// firstDisplay is what a client shows of the first address: its name, or else the address (RFC 5957 section 3).
func firstDisplay(list []*mailv1.Address) string {
	if len(list) == 0 {
		return ""
	}
	if name := text.DecodeHeader(list[0].GetName()); name != "" {
		return name
	}
	if list[0].Host == nil {
		return firstMailbox(list)
	}
	return firstMailbox(list) + "@" + text.DecodeHeader(list[0].GetHost())
}

// collate makes what i;unicode-casemap compares of a text (RFC 5051 section 2).
func collate(s string) string {
	s = norm.NFKD.String(strings.ToTitle(clip(s)))
	return strings.Clone(clip(s)) // not more in memory than is compared
}

// clip cuts a text between characters.
func clip(s string) string {
	if len(s) <= maxCollated {
		return s
	}
	n := maxCollated
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
