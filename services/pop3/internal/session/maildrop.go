package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// message is an entry of the maildrop: 16 octets, so that the list of 100,000 messages takes 1.6 MB.
type message struct {
	size    uint64
	uid     uint32
	deleted bool
}

// maildrop is the list of an account's messages as it was at login, under a lease that nobody else can hold.
type maildrop struct {
	accountID   string
	mailboxID   uint64
	uidValidity uint32
	messages    []message
	// count and octets of the messages that are not marked as deleted.
	count  int
	octets uint64

	// release ends the lease.
	release context.CancelFunc
	// lost is closed when the lease has ended.
	lost chan struct{}

	mu      sync.Mutex // held while the lease is used, or exchanged for another one
	leaseID string
}

// listAttempts bounds how often a list is begun.
const listAttempts = 3

// inUseRetries is how long to wait before each further attempt to take a lease that another session holds: it may be the
// client's own session before this one, of which storage has not heard yet that it is over.
var inUseRetries = []time.Duration{50 * time.Millisecond, 150 * time.Millisecond, 400 * time.Millisecond}

// openMaildrop takes the lease and lists the messages. The lease lives until release; if it is lost before, the session is made to leave.
func openMaildrop(ctx context.Context, s *Session, accountID string) (*maildrop, error) {
	d, err := lease(ctx, s, accountID)
	for _, wait := range inUseRetries {
		if !fault.Is(err, rpcv1.Reason_REASON_MAILDROP_IN_USE) {
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
		d, err = lease(ctx, s, accountID)
	}
	if err != nil {
		return nil, err
	}
	if err := d.list(ctx, s); err != nil {
		d.release()
		<-d.lost
		return nil, err
	}
	return d, nil
}

// list reads the whole mailbox but what has left the maildrop (policy keep), in the order of UIDs. It begins again if the replica of storage
// is lost on the way.
func (d *maildrop) list(ctx context.Context, s *Session) error {
	err := d.tryList(ctx, s)
	for range listAttempts - 1 {
		if len(d.messages) == 0 || !rpc.Lost(err) { // before it has begun, gRPC itself has tried other replicas
			break
		}
		d.messages, d.count, d.octets = nil, 0, 0
		err = d.tryList(ctx, s)
	}
	return err
}

func (d *maildrop) tryList(ctx context.Context, s *Session) error {
	ctx, watch := newWatchdog(ctx, s.server.config.CallTimeout)
	defer watch.end()
	stream, err := s.server.clients.Storage.Sync(ctx, &storagev1.SyncRequest{AccountId: d.accountID, MailboxId: d.mailboxID, UidValidity: d.uidValidity})
	if err != nil {
		return fmt.Errorf("list maildrop: %w", err)
	}
	for {
		page, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list maildrop: %w", err)
		}
		watch.expect()
		for _, m := range page.GetChanged() {
			if m.GetPopped() {
				continue
			}
			d.messages = append(d.messages, message{size: m.GetSize(), uid: m.GetUid()})
			d.count++
			d.octets += m.GetSize()
		}
	}
}

// at gives the message with a number; a failure if there is none, or it is marked as deleted.
func (d *maildrop) at(arg string) (int, *message, error) {
	n, err := number(arg)
	if err != nil {
		return 0, nil, err
	}
	if n < 1 || n > len(d.messages) || d.messages[n-1].deleted {
		return 0, nil, failure{text: textNoMessage}
	}
	return n, &d.messages[n-1], nil
}

// marked gives the UIDs that are marked as deleted, as ranges of adjacent ones: between two others may be a message that came after login.
func (d *maildrop) marked() (out []*storagev1.UidRange) {
	for _, m := range d.messages {
		if !m.deleted {
			continue
		}
		if last := len(out) - 1; last >= 0 && out[last].GetStop()+1 == m.uid {
			out[last].Stop = m.uid
			continue
		}
		out = append(out, &storagev1.UidRange{Start: m.uid, Stop: m.uid})
	}
	return out
}

// closeMaildrop gives up the lease, and waits until its stream has ended.
func (s *Session) closeMaildrop() {
	if s.drop != nil {
		s.drop.release()
		<-s.drop.lost
		s.drop = nil
	}
}
