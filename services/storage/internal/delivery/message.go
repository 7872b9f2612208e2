package delivery

import (
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/message"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/space"
)

// Message is a message on its way in: written, then sealed, then stored, then closed.
type Message struct {
	spool   *body.Spool
	max     int64
	content *meta.Content // of the sealed message
	stored  bool          // content has its location
}

// NewMessage starts a message of at most the configured size. hint is the declared size, 0 if it is unknown.
// Errors: MESSAGE_TOO_LARGE, UNAVAILABLE (the disk is nearly full).
func (w *Writer) NewMessage(hint uint64) (*Message, error) {
	m := &Message{max: w.cfg.MaxMessageSize}
	if m.max > 0 && hint > uint64(m.max) {
		return nil, m.fault(body.ErrTooLarge)
	}
	if err := w.space.Admit(0); err != nil {
		return nil, err
	}
	m.spool = w.spools.New(m.max)
	return m, nil
}

// Write appends octets. Errors: MESSAGE_TOO_LARGE, UNAVAILABLE (no room to spool).
func (m *Message) Write(p []byte) (int, error) {
	n, err := m.spool.Write(p)
	if err != nil {
		return n, m.fault(err)
	}
	return n, nil
}

// Seal ends the writing and parses the message. size is what the sender counted; another one is REASON_INVALID, as the stream was cut.
func (m *Message) Seal(size uint64) error {
	if got := m.spool.Size(); uint64(got) != size {
		return fault.Newf(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "the message has %d octets, not %d", got, size)
	}
	structure, err := message.Parse(m.spool, m.spool.Size(), message.DefaultLimits())
	if err != nil { // only the spool can fail
		return m.fault(err)
	}
	var header []byte
	if n := structure.GetRoot().GetHeaderSize(); n <= meta.MaxStoredHeader {
		header = make([]byte, n)
		if _, err := m.spool.ReadAt(header, 0); err != nil && !errors.Is(err, io.EOF) {
			return m.fault(err)
		}
	}
	id, err := uuid.NewV7() // in order of time, so that rows that come in together lie together
	if err != nil {
		return fmt.Errorf("make content id: %w", err)
	}
	m.content, err = meta.NewContent(id.String(), structure, header)
	return err
}

// Size gives the octets written.
func (m *Message) Size() int64 { return m.spool.Size() }

// Close frees the message. It may be called again.
func (m *Message) Close() error { return m.spool.Close() }

// fault gives the error of a spool its reason.
func (m *Message) fault(err error) error {
	if errors.Is(err, space.ErrNearlyFull) {
		return err
	}
	if errors.Is(err, body.ErrTooLarge) {
		return fault.Newf(codes.InvalidArgument, rpcv1.Reason_REASON_MESSAGE_TOO_LARGE, "the message is larger than %d octets", m.max)
	}
	return unavailable(fmt.Errorf("spool message: %w", err))
}

// unavailable is the fault of a write that could not be done now; nothing was stored.
func unavailable(err error) error {
	text := "the message store is not available, try again later"
	if errors.Is(err, object.ErrFull) {
		text = "the message store is out of space, try again later"
	}
	return fault.Wrap(err, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, text)
}
