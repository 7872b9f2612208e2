package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/octets"
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
	body, err := s.download(ctx, n, m)
	if err != nil {
		return err
	}
	defer body.Close()
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
	defer body.Close()
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

// source gives a message in pieces, and io.EOF at the end. It must be closed.
type source interface {
	Next() ([]byte, error)
	Close()
}

// read begins to read a message. That its first octets are there means that +OK can be said. The reader must be closed.
func (s *Session) read(ctx context.Context, n int, m *message) (*octets.Reader, error) {
	r := octets.NewReader(ctx, s.server.clients.Storage, &storagev1.ReadRequest{
		AccountId: s.drop.accountID, MailboxId: s.drop.mailboxID, Uid: m.uid,
	}, s.server.config.CallTimeout)
	err := r.Fill()
	if errors.Is(err, io.EOF) && m.size == 0 {
		return r, nil
	}
	if err != nil {
		r.Close()
		return nil, readFailure(err, n)
	}
	return r, nil
}

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

// errCut ends a session in which a message could not be given out whole: POP3 has no way to say so, but a connection that ends before
// the final dot is not taken for a whole message.
var errCut = errors.New("message was cut")

// transfer sends a message: all of its first octets (whole), and then up to so many lines.
func (s *Session) transfer(b source, whole uint64, lines int) error {
	out := wire.NewDotWriter(s.w)
	var sent uint64
	for {
		chunk, err := b.Next()
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
