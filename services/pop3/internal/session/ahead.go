package session

import (
	"context"
	"errors"
	"io"
	"slices"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

const (
	// aheadBytes bounds the octets that a session holds of messages that its client has not asked for yet.
	aheadBytes = 512 << 10
	// aheadMessages bounds their number.
	aheadMessages = 100
	// aheadSize is the largest message, in octets, that is read with others.
	aheadSize = 128 << 10
)

// ahead are messages that a client which downloads its maildrop in order will ask for next. Storage gives many small ones for the price of one.
type ahead struct {
	// next is the number of the message after the one that was retrieved last; 0 at first.
	next int
	// held are messages by their number.
	held map[int]held
}

// held are the pieces of a message in memory that were not given out yet. None is empty.
type held [][]byte

// Next implements source.
func (h *held) Next() ([]byte, error) {
	if len(*h) == 0 {
		return nil, io.EOF
	}
	content := (*h)[0]
	*h = (*h)[1:]
	return content, nil
}

// Close implements source.
func (h *held) Close() {}

// download begins to read a message for RETR.
func (s *Session) download(ctx context.Context, n int, m *message) (source, error) {
	inOrder := n == max(s.ahead.next, 1)
	s.ahead.next = n + 1
	if !inOrder {
		s.ahead.held = nil
	}
	if inOrder && s.ahead.held[n] == nil && m.size <= aheadSize {
		s.ahead.held = s.readAhead(ctx, n)
	}
	whole := s.ahead.held[n]
	if whole == nil {
		return s.read(ctx, n, m)
	}
	delete(s.ahead.held, n)
	return &whole, nil
}

// readAhead reads small messages from number n on. Those that cannot be had so are left out.
func (s *Session) readAhead(ctx context.Context, n int) map[int]held {
	numbers := map[uint32]int{}
	request := &storagev1.FetchRequest{AccountId: s.drop.accountID, MailboxId: s.drop.mailboxID, WholeBytes: aheadSize}
	octets := uint64(0)
	for i := n; i <= len(s.drop.messages) && len(numbers) < aheadMessages; i++ {
		m := &s.drop.messages[i-1]
		if m.deleted {
			continue
		}
		if m.size > aheadSize || octets+m.size > aheadBytes {
			break
		}
		octets += m.size
		numbers[m.uid] = i
		if last := len(request.Uids) - 1; last >= 0 && request.Uids[last].Stop+1 == m.uid {
			request.Uids[last].Stop = m.uid
		} else {
			request.Uids = append(request.Uids, &storagev1.UidRange{Start: m.uid, Stop: m.uid})
		}
	}
	ctx, cancel := s.server.call(ctx)
	defer cancel()
	found := map[int]held{}
	stream, err := s.server.clients.Storage.Fetch(ctx, request)
	for err == nil {
		var page *storagev1.FetchResponse
		page, err = stream.Recv()
		for _, m := range page.GetMessages() {
			number, asked := numbers[m.GetState().GetUid()]
			prefix, whole := m.GetWholePrefix(), m.GetWhole()
			if asked && uint64(len(prefix)+len(whole)) == s.drop.messages[number-1].size && len(whole) > 0 {
				found[number] = slices.DeleteFunc(held{prefix, whole}, func(piece []byte) bool { return len(piece) == 0 })
			}
		}
	}
	if !errors.Is(err, io.EOF) {
		s.log.DebugContext(ctx, "could not read ahead", "error", err)
	}
	return found
}
