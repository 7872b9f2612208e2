package session

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/replay"
	"github.com/yubin-mail/yubin/pkg/rpc"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// APPEND: RFC 9051 section 6.3.12, APPENDUID RFC 4315, LITERAL+ RFC 7888 (LITERAL- is held with it), APPENDLIMIT RFC 7889.
func init() {
	register(extension{
		capabilities: []capability{
			{name: "LITERAL+"},
			{name: "APPENDLIMIT", value: func(s *session) string { return itoa(uint64(s.Limits.MessageSize)) }},
		},
		commands: []command{{name: "APPEND", states: loggedIn, run: runAppend, stream: true}},
		statusItems: []statusItem{{name: "APPENDLIMIT", number: func(s *session, _ *storagev1.Mailbox) uint64 {
			return uint64(s.Limits.MessageSize)
		}}},
	})
}

func runAppend(ctx context.Context, s *session) (reply, error) {
	name := canonical(s.dec.AppendMailbox())
	message, err := s.dec.AppendMessage()
	if err != nil {
		return reply{}, err
	}
	bits, keywords, err := splitFlags(message.Flags)
	if err != nil {
		return reply{}, err
	}
	if err := s.mayAppend(ctx, name, message.Size); err != nil {
		return reply{}, err
	}
	start := &storagev1.AppendRequest_Message{Flags: bits, Keywords: keywords, SizeHint: uint64(message.Size)}
	if !message.Date.IsZero() {
		start.InternalUnix = message.Date.Unix()
	}
	literal, err := s.dec.Literal()
	if err != nil {
		return reply{}, err
	}
	if message.Binary {
		literal = &nulFinder{r: literal}
	}
	answer, err := s.appendTo(ctx, name, start, literal)
	if err != nil {
		return reply{}, tryCreate(err)
	}
	if len(answer.GetUids()) == 0 {
		return reply{}, errNoUID
	}
	if s.box != nil && s.box.id == answer.GetMailboxId() {
		s.refresh(ctx) // RFC 9051 section 6.3.12: the new message should be told at once
	}
	return reply{code: "APPENDUID " + itoa(uint64(answer.GetUidValidity())) + " " + itoa(uint64(answer.GetUids()[0]))}, nil
}

// mayAppend refuses before the client sends the message, where that is possible.
func (s *session) mayAppend(ctx context.Context, name string, size int64) error {
	if size == 0 {
		return no("", "an empty message is none") // RFC 3502 section 3: by it a client takes its APPEND back
	}
	if size > s.Limits.MessageSize {
		return no("TOOBIG", "message is larger than "+itoa(uint64(s.Limits.MessageSize))+" octets")
	}
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	if _, err := s.mailboxNamed(ctx, name); err != nil {
		return tryCreate(err)
	}
	answer, err := s.Quota.Check(ctx, &quotav1.CheckRequest{AccountId: s.accountID(), Bytes: size, Messages: 1})
	if err != nil {
		return err
	}
	if !answer.GetFits() {
		return no("OVERQUOTA", "mailbox is full")
	}
	return nil
}

var errNoUID = errors.New("storage appended without a UID")

// tryCreate marks a missing target (RFC 9051 section 7.1).
func tryCreate(err error) error {
	if fault.Is(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND) {
		return no("TRYCREATE", "mailbox does not exist")
	}
	return err
}

const (
	// appendAttempts bounds how often a message is sent whose replica of storage was lost, and appendPause is between two of them.
	appendAttempts = 3
	appendPause    = 100 * time.Millisecond
)

// appendTo streams one message to storage. Unless all of it came, nothing is committed. A small one is sent again, under the same id, if
// its replica of storage was lost.
func (s *session) appendTo(ctx context.Context, name string, start *storagev1.AppendRequest_Message, literal io.Reader) (*storagev1.AppendResponse, error) {
	target := &storagev1.AppendRequest_Target{AccountId: s.accountID(), Mailbox: name, AppendId: rand.Text()}
	source := replay.New(literal, nil)
	whole := sync.OnceValue(func() error { return s.appendEnds(source.Size(), start) })
	for attempt := 1; ; attempt++ {
		answer, err := s.appendOnce(ctx, target, start, source, whole)
		if attempt == appendAttempts || !rpc.Lost(err) {
			return answer, err
		}
		if kept, broken := source.ReadAll(); broken != nil || !kept {
			return nil, cmp.Or(broken, err)
		}
		select {
		case <-time.After(appendPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// appendEnds reads the end of the command, which must be whole, too: a client that vanishes before it did not ask for anything.
func (s *session) appendEnds(size int64, start *storagev1.AppendRequest_Message) error {
	if uint64(size) != start.GetSizeHint() {
		return &brokenError{io.ErrUnexpectedEOF}
	}
	if s.dec.AppendMore() {
		s.dec.Fail("one message at a time")
	}
	return s.dec.End()
}

func (s *session) appendOnce(
	ctx context.Context, target *storagev1.AppendRequest_Target, start *storagev1.AppendRequest_Message, source *replay.Source, whole func() error,
) (*storagev1.AppendResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.Storage.Append(ctx)
	if err != nil {
		return nil, err
	}
	send := func(r *storagev1.AppendRequest) error {
		err := stream.Send(r)
		if errors.Is(err, io.EOF) { // it ended; why is in the answer
			if _, err := stream.CloseAndRecv(); err != nil {
				return err
			}
			return fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, unavailableText)
		}
		return err
	}
	if err := send(&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Target_{Target: target}}); err != nil {
		return nil, err
	}
	if err := send(&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Start{Start: start}}); err != nil {
		return nil, err
	}
	err = source.Send(func(chunk []byte) error {
		return send(&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Chunk{Chunk: chunk}})
	})
	if err != nil {
		return nil, err
	}
	if err := whole(); err != nil {
		return nil, err
	}
	if err := send(&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Commit{Commit: &storagev1.Commit{Size: uint64(source.Size())}}}); err != nil {
		return nil, err
	}
	timer := time.AfterFunc(s.Limits.RPC, cancel)
	defer timer.Stop()
	return stream.CloseAndRecv()
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
