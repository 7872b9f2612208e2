package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/pop3/internal/wire"
)

// capaTop is RFC 2449 section 6.1.
func (s *Session) capaTop() string { return "TOP" }

// cmdRetr is RFC 1939 section 5.
func (s *Session) cmdRetr(ctx context.Context, args []string) error {
	n, m, err := s.drop.at(args[0])
	if err != nil {
		return err
	}
	body, err := s.read(ctx, n, m)
	if err != nil {
		return err
	}
	defer body.close()
	s.say(textOctets, m.size)
	return s.transfer(body, m.size, math.MaxInt)
}

// cmdTop is RFC 1939 section 7. The header comes from the parsed message, so that TOP n 0 costs no access to the body.
func (s *Session) cmdTop(ctx context.Context, args []string) error {
	n, m, err := s.drop.at(args[0])
	if err != nil {
		return err
	}
	lines, err := number(args[1])
	if err != nil {
		return err
	}
	header, size, err := s.header(ctx, n, m)
	if err != nil {
		return err
	}
	whole := uint64(len(header)) == size // longer headers are not given as one
	if whole && (lines == 0 || size >= m.size) {
		s.say(textTop)
		out := wire.NewDotWriter(s.w)
		if err := s.count(out.Write(header)); err != nil {
			return err
		}
		return out.Close()
	}
	body, err := s.read(ctx, n, m)
	if err != nil {
		return err
	}
	defer body.close()
	s.say(textTop)
	return s.transfer(body, size, lines)
}

// header fetches a message's header and tells its size.
func (s *Session) header(ctx context.Context, n int, m *message) ([]byte, uint64, error) {
	ctx, cancel := s.server.call(ctx)
	defer cancel()
	stream, err := s.server.clients.Storage.Fetch(ctx, &storagev1.FetchRequest{
		AccountId: s.drop.accountID, MailboxId: s.drop.mailboxID, Uids: []*storagev1.UidRange{{Start: m.uid, Stop: m.uid}}, Header: true,
	})
	if err != nil {
		return nil, 0, unavailable(err)
	}
	for {
		page, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, 0, failure{text: textGone, args: []any{n}}
		}
		if err != nil {
			return nil, 0, unavailable(err)
		}
		if len(page.GetMessages()) > 0 {
			found := page.GetMessages()[0]
			return found.GetHeader(), found.GetHeaderSize(), nil
		}
	}
}

// body is a message that is being read.
type body struct {
	stream storagev1.StorageService_ReadClient
	watch  *watchdog
	// chunk is the first, until it was taken; ended says that there is none after it.
	chunk []byte
	ended bool
}

// read begins to read a message. That its first chunk is there means that +OK can be said. The body must be closed.
func (s *Session) read(ctx context.Context, n int, m *message) (*body, error) {
	ctx, watch := newWatchdog(ctx, s.server.config.CallTimeout)
	stream, err := s.server.clients.Storage.Read(ctx, &storagev1.ReadRequest{AccountId: s.drop.accountID, MailboxId: s.drop.mailboxID, Uid: m.uid})
	b := &body{stream: stream, watch: watch}
	if err == nil {
		b.chunk, err = b.receive()
	}
	if errors.Is(err, io.EOF) && m.size == 0 {
		b.ended = true
		return b, nil
	}
	if err != nil {
		b.close()
		return nil, readFailure(err, n)
	}
	return b, nil
}

func (b *body) close() { b.watch.end() }

func readFailure(err error, n int) failure {
	if errors.Is(err, io.EOF) {
		return failure{text: textGone, args: []any{n}}
	}
	switch fault.Reason(err) {
	case rpcv1.Reason_REASON_NOT_FOUND:
		return failure{text: textGone, args: []any{n}}
	case rpcv1.Reason_REASON_CORRUPT:
		return failure{code: codePermanent, text: textCorrupt, cause: err}
	}
	return unavailable(err)
}

// receive waits for a chunk from storage.
func (b *body) receive() ([]byte, error) {
	b.watch.expect()
	defer b.watch.rest()
	resp, err := b.stream.Recv()
	return resp.GetChunk(), err
}

// next gives the next chunk, io.EOF at the end.
func (b *body) next() ([]byte, error) {
	if chunk := b.chunk; chunk != nil {
		b.chunk = nil
		return chunk, nil
	}
	if b.ended {
		return nil, io.EOF
	}
	return b.receive()
}

// errCut ends a session in which a message could not be given out whole: POP3 has no way to say so, but a connection that ends before
// the final dot is not taken for a whole message.
var errCut = errors.New("message was cut")

// transfer sends a message: all of its first octets (whole), and then up to so many lines.
func (s *Session) transfer(b *body, whole uint64, lines int) error {
	out := wire.NewDotWriter(s.w)
	var sent uint64
	for {
		chunk, err := b.next()
		if errors.Is(err, io.EOF) {
			if sent < whole {
				return fmt.Errorf("%w: %d of %d octets", errCut, sent, whole)
			}
			return out.Close()
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errCut, err)
		}
		free := min(uint64(len(chunk)), whole-min(whole, sent))
		n := free + uint64(headLines(chunk[free:], &lines))
		if err := s.count(out.Write(chunk[:n])); err != nil {
			return err
		}
		if sent += n; n < uint64(len(chunk)) || lines == 0 && sent >= whole {
			return out.Close()
		}
	}
}

// headLines tells how many octets the first lines of p take, and lowers lines by what it counted.
func headLines(p []byte, lines *int) (n int) {
	for *lines > 0 && n < len(p) {
		i := bytes.IndexByte(p[n:], '\n')
		if i < 0 {
			return len(p)
		}
		n += i + 1
		*lines--
	}
	return n
}

// count adds what was written to the metric.
func (s *Session) count(n int, err error) error {
	s.server.metrics.octets.Add(float64(n))
	return err
}
