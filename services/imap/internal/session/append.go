package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"sync"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/replay"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// APPEND: RFC 9051 section 6.3.12, MULTIAPPEND RFC 3502, APPENDUID RFC 4315, LITERAL+ RFC 7888 (LITERAL- is held with it), APPENDLIMIT RFC 7889.
func init() {
	register(extension{
		capabilities: []capability{
			{name: "LITERAL+"},
			{name: "MULTIAPPEND", when: whenLoggedIn},
			{name: "APPENDLIMIT", value: func(s *session) string { return itoa(uint64(s.Limits.MessageSize)) }},
		},
		commands: []command{{name: "APPEND", states: loggedIn, run: runAppend, stream: true}},
		statusItems: []statusItem{{name: "APPENDLIMIT", number: func(s *session, _ *storagev1.Mailbox) uint64 {
			return uint64(s.Limits.MessageSize)
		}}},
	})
}

func runAppend(ctx context.Context, s *session) (reply, error) {
	ctx, cancel := context.WithCancel(ctx) // also ends what CATENATE has opened
	defer cancel()
	a := &appending{session: s, mailbox: s.dec.AppendMailbox()}
	start, literal, err := a.next(ctx)
	if err != nil {
		return reply{}, err
	}
	answer, err := a.store(ctx, start, literal)
	if err != nil {
		return reply{}, tryCreate(err)
	}
	if len(answer.GetUids()) == 0 {
		return reply{}, errNoUID
	}
	if s.isSelected(a.target.key(answer.GetMailboxId())) {
		s.noteAdded(answer.GetUids())
		s.refresh(ctx) // RFC 9051 section 6.3.12: the new message should be told at once
	}
	s.sendOldName(a.mailbox) // RFC 9051 section 6.3.12
	if a.target.blind {
		return reply{}, nil
	}
	code := []byte("APPENDUID " + itoa(uint64(answer.GetUidValidity())) + " ")
	return reply{code: string(wire.AppendRanges(code, rangesOf(answer.GetUids())))}, nil
}

// appending is one APPEND: of a message, or of several that are stored all or none (RFC 3502).
type appending struct {
	*session
	mailbox string // as the client calls it
	target  place
	// messages and bytes were announced so far.
	messages, bytes int64
	// catenated: the message that is read is put together, and has no size until it is.
	catenated bool
}

// next reads what stands before a message and accepts its octets.
func (a *appending) next(ctx context.Context) (*storagev1.AppendRequest_Message, io.Reader, error) {
	message, err := a.dec.AppendMessage()
	if err != nil {
		return nil, nil, err
	}
	bits, keywords, err := splitFlags(message.Flags)
	if err != nil {
		return nil, nil, err
	}
	if a.catenated = message.Catenate; a.catenated {
		message.Size = 1 // at least
	}
	if err := a.mayAppend(ctx, message.Size); err != nil {
		return nil, nil, err
	}
	start := &storagev1.AppendRequest_Message{Flags: bits, Keywords: keywords, SizeHint: uint64(message.Size)}
	if !message.Date.IsZero() {
		start.InternalUnix = message.Date.Unix()
	}
	if a.catenated {
		start.SizeHint = 0
		return start, a.acceptable(&catenation{appending: a, ctx: ctx}), nil
	}
	literal, err := a.dec.Literal()
	if err != nil {
		return nil, nil, err
	}
	if message.Binary {
		literal = &nulFinder{r: literal}
	}
	return start, a.acceptable(literal), nil
}

// mayAppend refuses before the client sends the message, where that is possible.
func (a *appending) mayAppend(ctx context.Context, size int64) error {
	if size == 0 {
		return errEmpty // RFC 3502 section 3: by it a client takes its APPEND back
	}
	if size > a.Limits.MessageSize {
		return no("TOOBIG", "message is larger than "+itoa(uint64(a.Limits.MessageSize))+" octets")
	}
	ctx, cancel := a.rpc(ctx)
	defer cancel()
	if a.messages == 0 {
		var err error
		if a.target, err = a.targetNamed(ctx, a.mailbox); err != nil {
			return tryCreate(err)
		}
	}
	a.messages++
	a.bytes += size
	if err := a.allowed(int(a.messages)); err != nil { // RFC 9738 section 3.1
		return err
	}
	answer, err := a.Quota.Check(ctx, &quotav1.CheckRequest{AccountId: a.target.account, Bytes: a.bytes, Messages: a.messages})
	if err != nil {
		return err
	}
	if !answer.GetFits() {
		return no("OVERQUOTA", "mailbox is full")
	}
	return nil
}

var errEmpty = no("CANNOT", "an empty message is none")

// targetNamed finds the mailbox that messages are to go to.
func (s *session) targetNamed(ctx context.Context, name string) (place, error) {
	p, err := s.locate(ctx, name)
	if err != nil {
		return p, err
	}
	return s.asTarget(ctx, p)
}

// asTarget asks storage whether messages may go to a place, and whether they may be seen there.
func (s *session) asTarget(ctx context.Context, p place) (place, error) {
	m, err := s.mailboxAt(ctx, p)
	if err == nil {
		err = m.need(rightInsert)
	}
	p.blind = err == nil && !m.may(rightRead)
	return p, err
}

var errNoUID = errors.New("storage appended without a UID")

// tryCreate marks a missing target (RFC 9051 section 7.1).
func tryCreate(err error) error {
	if fault.Is(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND) {
		return no("TRYCREATE", "mailbox does not exist")
	}
	return err
}

// store streams the messages to storage. Unless the whole command came, nothing is committed. One small message is sent again, under
// the same id, if its replica of storage was lost.
func (a *appending) store(ctx context.Context, start *storagev1.AppendRequest_Message, literal io.Reader) (*storagev1.AppendResponse, error) {
	target := &storagev1.AppendRequest_Target{AccountId: a.target.asked(), Mailbox: a.target.name, AppendId: rand.Text(), Actor: a.target.actor}
	source := replay.New(literal, nil)
	ended := sync.OnceValues(func() (bool, error) { return a.ends(source.Size(), start) })
	return uploaded(ctx, source, func() bool { return a.messages <= 1 }, func() (*storagev1.AppendResponse, error) {
		return a.once(ctx, target, start, source, ended)
	})
}

// ends tells whether another message follows the one that was read. If none does it reads the end of the command, which must be whole,
// too: a client that vanishes before it did not ask for anything.
func (a *appending) ends(size int64, start *storagev1.AppendRequest_Message) (more bool, err error) {
	if !a.catenated && uint64(size) != start.GetSizeHint() {
		return false, &brokenError{io.ErrUnexpectedEOF}
	}
	if a.dec.AppendMore() {
		return true, nil
	}
	return false, a.dec.End()
}

func (a *appending) once(
	ctx context.Context, target *storagev1.AppendRequest_Target, start *storagev1.AppendRequest_Message, source *replay.Source, ended func() (bool, error),
) (*storagev1.AppendResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := a.Storage.Append(ctx)
	if err != nil {
		return nil, err
	}
	send := sender(stream)
	if err := send(&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Target_{Target: target}}); err != nil {
		return nil, err
	}
	if err := sendMessage(send, start, source); err != nil {
		return nil, err
	}
	more, err := ended()
	for more && err == nil {
		source, more, err = a.another(ctx, send)
	}
	if err != nil {
		return nil, err
	}
	if err := send(&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Commit{Commit: &storagev1.Commit{Size: uint64(source.Size())}}}); err != nil {
		return nil, err
	}
	return answerOf(stream, a.Limits.RPC, cancel)
}

// another passes on one more message, and tells whether yet another follows.
func (a *appending) another(ctx context.Context, send func(*storagev1.AppendRequest) error) (*replay.Source, bool, error) {
	start, literal, err := a.next(ctx)
	if err != nil {
		return nil, false, err
	}
	source := replay.New(literal, nil)
	if err := sendMessage(send, start, source); err != nil {
		return nil, false, err
	}
	more, err := a.ends(source.Size(), start)
	return source, more, err
}

func sendMessage(send func(*storagev1.AppendRequest) error, start *storagev1.AppendRequest_Message, source *replay.Source) error {
	if err := send(&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Start{Start: start}}); err != nil {
		return err
	}
	return source.Send(func(chunk []byte) error {
		return send(&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Chunk{Chunk: chunk}})
	})
}

// nulFinder refuses NUL in a literal8: FETCH BODY[] could not give the message back (RFC 3516 section 4.4).
type nulFinder struct{ r io.Reader }

func (f *nulFinder) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if bytes.IndexByte(p[:n], 0) >= 0 {
		return 0, &wire.RefusedError{Code: "UNKNOWN-CTE", Text: "messages with NUL are not stored"}
	}
	return n, err
}
