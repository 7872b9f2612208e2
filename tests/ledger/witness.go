package ledger

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/tests/harness"
)

// mirror is a mailbox as a gateway keeps it, from what changed since a modseq.
type mirror struct {
	box      box
	modseq   uint64
	uidNext  uint32
	messages map[uint32]state
}

// state of a message.
type state struct {
	modseq   uint64
	flags    uint32
	keywords string
}

// witness follows the mailboxes of an account as a gateway does, through all replicas of storage by turns.
type witness struct {
	ledger   *Ledger
	account  string
	id       string
	replicas []storagev1.StorageServiceClient
	mirrors  map[uint64]*mirror // by mailbox
}

// Watch has witnesses follow the accounts' mailboxes: modseqs must not fall, and what changed since then must be all that changed. The
// system is in a shape with services of their own.
func (w *Load) Watch(s *harness.System) {
	w.t.Helper()
	tls, err := tlsconf.MutualClient(s.Identity(w.t, "imap"), "storage", tlsconf.Options{Log: slog.New(slog.DiscardHandler)})
	require.NoError(w.t, err)
	var replicas []storagev1.StorageServiceClient
	for addr := range strings.SplitSeq(s.RPC["storage"], ",") {
		conn, err := rpc.Dial(addr, rpc.DialOptions{TLS: tls})
		require.NoError(w.t, err)
		w.t.Cleanup(func() { _ = conn.Close() })
		replicas = append(replicas, storagev1.NewStorageServiceClient(conn))
	}
	ctx, stop := context.WithCancel(w.t.Context())
	before := w.stop
	w.stop = func() {
		stop()
		before()
	}
	for _, account := range slices.Concat(w.ledger.imapUsers, w.ledger.popUsers) {
		n := &witness{ledger: w.ledger, account: account, id: s.AccountID(w.t, account), replicas: replicas, mirrors: map[uint64]*mirror{}}
		w.witnesses = append(w.witnesses, n)
		w.group.Go(func() {
			for wait(ctx, 50*time.Millisecond) {
				_ = n.look(ctx) // a replica may be away
			}
		})
	}
}

// CheckWitnesses compares what the witnesses have gathered bit by bit with the whole. The load has ended.
func (w *Load) CheckWitnesses() {
	w.t.Helper()
	for _, n := range w.witnesses {
		require.Eventually(w.t, func() bool { return n.look(w.t.Context()) == nil }, settleTime, tick, "storage answers")
		for id, m := range n.mirrors {
			whole := &mirror{box: m.box, messages: map[uint32]state{}}
			require.NoError(w.t, whole.sync(w.t.Context(), n.ledger, n.replicas[0], n.id, id))
			require.Equal(w.t, whole.modseq, m.modseq, "modseq of %v", m.box)
			for uid := range maps.Keys(m.messages) {
				require.Contains(w.t, whole.messages, uid, "UID %d of %v, of which no change said that it is gone", uid, m.box)
			}
			for uid, s := range whole.messages {
				require.Equal(w.t, s, m.messages[uid], "UID %d of %v, of which no change told", uid, m.box)
			}
		}
	}
}

// look learns what has changed.
func (n *witness) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	replica := n.replicas[n.ledger.intn(len(n.replicas))]
	list, err := replica.ListMailboxes(ctx, &storagev1.ListMailboxesRequest{AccountId: n.id})
	if err != nil {
		return err
	}
	for _, box := range list.GetMailboxes() {
		m := n.mirrors[box.GetMailboxId()]
		if m == nil {
			m = &mirror{messages: map[uint32]state{}}
			m.box.account, m.box.mailbox, m.box.uidValidity = n.account, box.GetName(), box.GetUidValidity()
			n.mirrors[box.GetMailboxId()] = m
		}
		if box.GetHighestModseq() < m.modseq || box.GetUidNext() < m.uidNext {
			n.ledger.trouble("%v has modseq %d and UIDNEXT %d, and had %d and %d", m.box, box.GetHighestModseq(), box.GetUidNext(), m.modseq, m.uidNext)
		}
		if err := m.sync(ctx, n.ledger, replica, n.id, box.GetMailboxId()); err != nil {
			return err
		}
	}
	return nil
}

// sync brings the mirror up to date; it stays as it was if the answer breaks off.
func (m *mirror) sync(ctx context.Context, l *Ledger, storage storagev1.StorageServiceClient, account string, id uint64) error {
	stream, err := storage.Sync(ctx, &storagev1.SyncRequest{AccountId: account, MailboxId: id, SinceModseq: m.modseq, UidValidity: m.box.uidValidity})
	if err != nil {
		return err
	}
	var parts []*storagev1.SyncResponse
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		parts = append(parts, part)
	}
	for _, part := range parts {
		for _, r := range part.GetVanished() {
			maps.DeleteFunc(m.messages, func(uid uint32, _ state) bool { return r.GetStart() <= uid && uid <= r.GetStop() })
		}
		for _, c := range part.GetChanged() {
			if old := m.messages[c.GetUid()]; c.GetModseq() < old.modseq || c.GetModseq() <= m.modseq {
				l.trouble("UID %d of %v came with modseq %d, and had %d, since %d", c.GetUid(), m.box, c.GetModseq(), old.modseq, m.modseq)
			}
			m.messages[c.GetUid()] = state{c.GetModseq(), c.GetFlags(), strings.Join(c.GetKeywords(), " ")}
		}
	}
	if last := parts[len(parts)-1].GetMailbox(); last != nil {
		if last.GetHighestModseq() < m.modseq || last.GetUidNext() < m.uidNext {
			l.trouble("%v has modseq %d and UIDNEXT %d, and had %d and %d", m.box, last.GetHighestModseq(), last.GetUidNext(), m.modseq, m.uidNext)
		}
		m.modseq, m.uidNext = last.GetHighestModseq(), last.GetUidNext()
	}
	return nil
}
