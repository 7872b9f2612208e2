package session

import (
	"context"
	"crypto/rand"
	"io"
	"sync"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/replay"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// REPLACE and UID REPLACE: RFC 8508.
func init() {
	register(extension{
		capabilities: []capability{{name: "REPLACE", when: whenLoggedIn}},
		commands: []command{
			{name: "REPLACE", states: selectedState, stream: true, run: func(ctx context.Context, s *session) (reply, error) { return runReplace(ctx, s, false) }},
			{name: "UID REPLACE", states: selectedState, stream: true, run: func(ctx context.Context, s *session) (reply, error) { return runReplace(ctx, s, true) }},
		},
	})
}

func runReplace(ctx context.Context, s *session, uid bool) (reply, error) {
	ctx, cancel := context.WithCancel(ctx) // also ends what CATENATE has opened
	defer cancel()
	number, name := s.dec.ReplaceTarget()
	announced, err := s.dec.AppendMessage()
	if err != nil {
		return reply{}, err
	}
	r := &replacing{session: s, mailbox: name, uid: uid}
	if err := r.find(number); err != nil {
		return reply{}, err
	}
	if err := r.begin(ctx, announced); err != nil {
		return reply{}, err
	}
	answer, err := r.store(ctx)
	if err != nil {
		return reply{}, r.failure(err)
	}
	if s.isSelected(r.target.key(answer.GetMailboxId())) {
		s.noteAdded([]uint32{answer.GetUid()})
	} else {
		s.Views.Touch(r.target.account, answer.GetMailboxId())
	}
	s.refresh(ctx)
	// RFC 8508 section 4.3: the client learns the new UID before it hears that the old message is gone.
	if !r.target.blind {
		s.enc.Untagged(wire.StatusOK, "APPENDUID "+itoa(uint64(answer.GetUidValidity()))+" "+itoa(uint64(answer.GetUid())), "replacement is stored")
	}
	if err := s.tell(false, uid); err != nil {
		return reply{}, err
	}
	return s.settle(true, uid)
}

// replacing is one REPLACE.
type replacing struct {
	*session
	mailbox string // as the client calls it
	target  place
	uid     bool // the message was named by its UID
	old     view.Message
	start   *storagev1.AppendRequest_Message
	source  *replay.Source
	// catenated: the message is put together (RFC 8508 section 4.2), and has no size until it is.
	catenated bool
}

// find looks for the message that is to be replaced; 0 is the last one.
func (r *replacing) find(number uint32) error {
	if r.box.readOnly {
		return errReadOnly
	}
	set := wire.NumSet{Ranges: []wire.Range{{Start: number, Stop: number}}}
	spans, err := r.box.resolve(set, r.uid)
	if err != nil {
		return err
	}
	if len(spans) == 0 {
		return errReplacedGone
	}
	r.old = r.box.told.At(spans[0].from)
	return nil
}

var errReplacedGone = no("NONEXISTENT", "there is no such message to replace")

// failure explains an error of storage to the client.
func (r *replacing) failure(err error) error {
	if !fault.Is(err, rpcv1.Reason_REASON_NOT_FOUND) {
		return tryCreate(err)
	}
	if r.uid {
		return errReplacedGone
	}
	return errExpungeIssued
}

// begin accepts the message's octets, or refuses before the client sends them.
func (r *replacing) begin(ctx context.Context, announced wire.AppendMessage) error {
	bits, keywords, err := splitFlags(announced.Flags)
	if err != nil {
		return err
	}
	r.catenated = announced.Catenate
	switch {
	case announced.Size == 0 && !r.catenated:
		return errEmpty
	case announced.Size > r.Limits.MessageSize:
		return no("TOOBIG", "message is larger than "+itoa(uint64(r.Limits.MessageSize))+" octets")
	}
	call, cancel := r.rpc(ctx)
	defer cancel()
	if r.target, err = r.targetNamed(call, r.mailbox); err != nil {
		return tryCreate(err)
	}
	if growth := r.growth(announced.Size); growth > 0 {
		answer, err := r.Quota.Check(call, &quotav1.CheckRequest{AccountId: r.target.account, Bytes: growth})
		if err != nil {
			return err
		}
		if !answer.GetFits() {
			return no("OVERQUOTA", "mailbox is full")
		}
	}
	r.start = &storagev1.AppendRequest_Message{Flags: bits, Keywords: keywords, SizeHint: uint64(announced.Size)}
	if !announced.Date.IsZero() {
		r.start.InternalUnix = announced.Date.Unix()
	}
	octets, err := r.octets(ctx, announced)
	if err == nil {
		r.source = replay.New(r.acceptable(octets), nil)
	}
	return err
}

// growth is by how much a message of that size makes the account larger that it goes to.
func (r *replacing) growth(size int64) int64 {
	if r.target.account == r.box.account {
		size -= int64(r.old.Size)
	}
	return size
}

// octets accepts those of the message.
func (r *replacing) octets(ctx context.Context, announced wire.AppendMessage) (io.Reader, error) {
	if r.catenated {
		return &catenation{appending: &appending{session: r.session}, ctx: ctx}, nil
	}
	literal, err := r.dec.Literal()
	if err == nil && announced.Binary {
		literal = &nulFinder{r: literal}
	}
	return literal, err
}

// store streams the message to storage, again under the same id if its replica of storage was lost and the message is small.
func (r *replacing) store(ctx context.Context) (*storagev1.ReplaceResponse, error) {
	from := r.reaching(r.box.holder, r.target.holder)
	target := &storagev1.ReplaceRequest_Target{
		AccountId: from.asked(), Mailbox: r.target.name, AppendId: rand.Text(), MailboxId: r.box.id, Uid: r.old.UID,
		Actor: from.actor, ToAccountId: r.box.intoAccount(r.target),
	}
	ended := sync.OnceValue(r.ends)
	return uploaded(ctx, r.source, func() bool { return true }, func() (*storagev1.ReplaceResponse, error) {
		return r.once(ctx, target, ended)
	})
}

// ends reads the end of the command, which must be whole: a client that vanishes before it did not ask for anything.
func (r *replacing) ends() error {
	if !r.catenated && uint64(r.source.Size()) != r.start.GetSizeHint() {
		return &brokenError{io.ErrUnexpectedEOF}
	}
	return r.dec.ReplaceEnd()
}

func (r *replacing) once(ctx context.Context, target *storagev1.ReplaceRequest_Target, ended func() error) (*storagev1.ReplaceResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.Storage.Replace(ctx)
	if err != nil {
		return nil, err
	}
	send := sender(stream)
	if err := send(&storagev1.ReplaceRequest{Message: &storagev1.ReplaceRequest_Target_{Target: target}}); err != nil {
		return nil, err
	}
	if err := send(&storagev1.ReplaceRequest{Message: &storagev1.ReplaceRequest_Start{Start: r.start}}); err != nil {
		return nil, err
	}
	err = r.source.Send(func(chunk []byte) error {
		return send(&storagev1.ReplaceRequest{Message: &storagev1.ReplaceRequest_Chunk{Chunk: chunk}})
	})
	if err != nil {
		return nil, err
	}
	if err := ended(); err != nil {
		return nil, err
	}
	commit := &storagev1.Commit{Size: uint64(r.source.Size())}
	if err := send(&storagev1.ReplaceRequest{Message: &storagev1.ReplaceRequest_Commit{Commit: commit}}); err != nil {
		return nil, err
	}
	return answerOf(stream, r.Limits.RPC, cancel)
}
