package session

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strings"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// notes are the annotations of the account's mailboxes and of the account itself as the client knows them: what their values hash to. Those of mailboxes
// that others share are not watched.
type notes struct {
	values  map[note]uint64
	touches uint64 // up to which they are read
}

// note is an annotation.
type note struct {
	mailbox uint64 // 0: the account itself
	entry   string // in lower case
}

var noteSeed = maphash.MakeSeed()

// readNotes reads what a client wants to hear of, which may have changed with a touch.
func (s *session) readNotes(ctx context.Context, n *notification, touches uint64) error {
	values := map[note]uint64{}
	read := func(event string, request *storagev1.GetMetadataRequest) error {
		if !n.hears(event) {
			return nil
		}
		ctx, cancel := s.rpc(ctx)
		defer cancel()
		request.AccountId, request.Entries, request.Depth = s.accountID(), []string{"/private", "/shared"}, storagev1.GetMetadataRequest_DEPTH_INFINITY
		answer, err := s.Storage.GetMetadata(ctx, request)
		for _, e := range answer.GetEntries() {
			values[note{e.GetMailboxId(), strings.ToLower(e.GetName())}] = maphash.Bytes(noteSeed, e.GetValue())
		}
		return err
	}
	err := errors.Join(read(eventMetadata, &storagev1.GetMetadataRequest{AllMailboxes: true}), read(eventServerMetadata, &storagev1.GetMetadataRequest{}))
	if err == nil {
		n.notes = notes{values, touches}
	}
	return err
}

// noteOwn notes what the client itself changes: that it is not told.
func (s *session) noteOwn(p place, values []wire.MetadataValue) {
	if s.notify == nil || p.actor != nil {
		return
	}
	var mailbox uint64
	event := eventServerMetadata
	for _, m := range s.notify.known {
		if p.name != "" && m.actor == nil && m.GetName() == p.name {
			mailbox, event = m.GetMailboxId(), eventMetadata
		}
	}
	if !s.notify.hears(event) || mailbox == 0 && p.name != "" {
		return
	}
	for _, v := range values {
		key := note{mailbox, strings.ToLower(v.Entry)}
		if v.Value == nil {
			delete(s.notify.notes.values, key)
			continue
		}
		s.notify.notes.values[key] = maphash.Bytes(noteSeed, v.Value)
	}
}

// tellNotes tells which annotations have changed (RFC 5465 sections 5.6 and 5.7), by name as in RFC 5464 section 4.4.2.
func (s *session) tellNotes(ctx context.Context, all []*folder) error {
	n := s.notify
	touches := n.follow.Touches()
	if touches == n.notes.touches {
		return nil
	}
	old := n.notes.values
	if err := s.readNotes(ctx, n, touches); err != nil {
		return err
	}
	changed := map[uint64][]string{}
	for k, v := range n.notes.values {
		if was, ok := old[k]; !ok || was != v {
			changed[k.mailbox] = append(changed[k.mailbox], k.entry)
		}
	}
	for k := range old {
		if _, ok := n.notes.values[k]; !ok {
			changed[k.mailbox] = append(changed[k.mailbox], k.entry)
		}
	}
	s.sendNotes("", changed[0])
	for _, f := range all {
		if f.Mailbox != nil && f.actor == nil && hasEvent(s.groupOf(n, f), eventMetadata) {
			s.sendNotes(f.name, changed[f.GetMailboxId()])
		}
	}
	return nil
}

func (s *session) sendNotes(mailbox string, entries []string) {
	if len(entries) == 0 {
		return
	}
	slices.Sort(entries)
	s.enc.Star().Raw("METADATA ").Mailbox(mailbox)
	for _, e := range entries {
		s.enc.SP().AString(e)
	}
	s.enc.CRLF()
}
