package api

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/capacity"
	"github.com/yubin-mail/yubin/services/storage/internal/delivery"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// maxAppend bounds the messages of one Append (RFC 3502).
const maxAppend = 1000

// Append implements storagev1.StorageServiceServer.
func (s *Service) Append(stream grpc.ClientStreamingServer[storagev1.AppendRequest, storagev1.AppendResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return ended(err)
	}
	target := first.GetTarget()
	if target == nil {
		return invalid("an append begins with its target")
	}
	account, actor, err := asked(target)
	if err != nil {
		return err
	}
	box, has, err := s.destination(stream.Context(), actor, account, target)
	if err != nil {
		return err
	}
	a := &appending{service: s, account: account, mailbox: box.GetName(), most: maxAppend, actor: actor, has: has}
	defer a.close()
	if err := a.receive(stream.Recv); err != nil {
		return err
	}
	request := delivery.Request{Targets: a.targets, AllOrNone: true}
	if target.GetAppendId() != "" {
		request.ID = "a:" + target.GetAppendId()
	}
	outcomes, err := s.Writer.Store(stream.Context(), request)
	if err != nil {
		return err
	}
	response := &storagev1.AppendResponse{MailboxId: box.GetMailboxId(), UidValidity: box.GetUidValidity()}
	for _, o := range outcomes {
		if o.Status == delivery.NoAccount {
			return meta.ErrAccountNotFound
		}
		if o.Status != delivery.Stored {
			return capacity.ErrOverQuota
		}
		response.MailboxId, response.UidValidity = o.MailboxID, o.UIDValidity
		response.Uids = append(response.Uids, o.UID)
	}
	return stream.SendAndClose(response)
}

// destination finds the mailbox of a target in an account, and checks the target, before a message is taken; the commit looks again.
func (s *Service) destination(ctx context.Context, actor meta.Actor, account string, target interface {
	GetMailbox() string
	GetAppendId() string
}) (box *storagev1.Mailbox, has meta.Rights, err error) {
	if len(target.GetAppendId()) > maxID {
		return nil, 0, invalid("the append id is longer than %d octets", maxID)
	}
	name, err := existing(target.GetMailbox())
	if err != nil {
		return nil, 0, err
	}
	return s.Meta.As(actor).Destination(ctx, account, name)
}

// appending is an Append whose messages come in.
type appending struct {
	service          *Service
	account, mailbox string
	most             int // messages
	actor            meta.Actor
	has              meta.Rights // of the actor at the mailbox
	targets          []delivery.Target
	started          bool   // the last target's message is yet to be sealed
	size             uint64 // octets of that message
}

func (a *appending) close() {
	for _, t := range a.targets {
		_ = t.Message.Close() // frees memory or a temporary file; nothing depends on it
	}
}

// receive takes messages until the stream's end, which must follow a commit.
func (a *appending) receive(next func() (*storagev1.AppendRequest, error)) error {
	for {
		r, err := next()
		if errors.Is(err, io.EOF) && !a.started && len(a.targets) > 0 {
			return nil
		}
		if err != nil {
			return ended(err)
		}
		if err := a.take(r); err != nil {
			return err
		}
	}
}

func (a *appending) take(r *storagev1.AppendRequest) error {
	switch m := r.GetMessage().(type) {
	case *storagev1.AppendRequest_Start:
		if a.started { // one commit at the end holds for all messages
			if err := a.seal(a.size); err != nil {
				return err
			}
		}
		return a.start(m.Start)
	case *storagev1.AppendRequest_Chunk:
		if !a.started {
			return invalid("a chunk before the start of its message")
		}
		a.size += uint64(len(m.Chunk))
		return writeChunk(a.last().Message, m.Chunk)
	case *storagev1.AppendRequest_Commit:
		if !a.started {
			return invalid("a commit before the start of its message")
		}
		return a.seal(m.Commit.GetSize())
	}
	return invalid("an append has one target, and messages of a start, chunks and a commit")
}

func (a *appending) last() *delivery.Target { return &a.targets[len(a.targets)-1] }

func (a *appending) seal(size uint64) error {
	a.started = false
	return a.last().Message.Seal(size)
}

func (a *appending) start(m *storagev1.AppendRequest_Message) error {
	if len(a.targets) >= a.most {
		return fault.Newf(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT, "at most %d messages at once", a.most)
	}
	if len(m.GetKeywords()) > maxFlagKeywords {
		return invalid("more than %d keywords", maxFlagKeywords)
	}
	message, err := a.service.Writer.NewMessage(m.GetSizeHint())
	if err != nil {
		return err
	}
	// The commit leaves out the same; this is so that the pack does not tell otherwise.
	flags, keywords := a.has.Admit(m.GetFlags(), m.GetKeywords())
	a.targets = append(a.targets, delivery.Target{
		Message: message, AccountID: a.account, Mailbox: a.mailbox, Actor: a.actor,
		Flags: flags, Keywords: keywords, InternalUnix: m.GetInternalUnix(),
	})
	a.started, a.size = true, 0
	return nil
}
