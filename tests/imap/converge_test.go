package imap

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/tests/harness"
)

// converging are the mailboxes that the clients change.
var converging = []string{"INBOX", "Archive", "Plans"}

// TestClientsConverge lets mail programs of a kind change three mailboxes at random, through two gateways, at the same time. When they are
// quiet, all see the same, it is what storage has, and what each was told of how many messages there are is true.
func TestClientsConverge(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	s := harness.Start(t, harness.Options{Shape: harness.Split, IMAPGateways: 2, Accounts: []string{"alice"}, Args: cheapPasswords})
	require.NoError(t, s.IMAPClient(t, 0, "alice", nil).Create("Plans", nil).Wait())
	for n := 2; n <= 4; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Logf("-seed %d", seed)
			clients := make([]*imapclient.Client, n)
			var group sync.WaitGroup
			for i := range clients {
				clients[i] = s.IMAPClient(t, i%2, "alice", nil)
				r := rand.New(rand.NewPCG(seed, uint64(n<<8|i)))
				group.Go(func() {
					for step := 0; step < 250 && !t.Failed(); step++ {
						if err := change(clients[i], r); err != nil {
							t.Errorf("client %d, step %d: %v", i, step, err)
						}
					}
				})
			}
			group.Wait()
			require.False(t, t.Failed(), "a client was refused what is always possible")
			truth := stored(t, s)
			for i, c := range clients {
				require.NoError(t, c.Noop().Wait())
				if selected := c.Mailbox(); selected != nil {
					require.Len(t, truth[selected.Name], int(selected.NumMessages), "messages in %s, as client %d was told", selected.Name, i)
				}
			}
			for i, c := range clients {
				for _, name := range converging {
					require.Equal(t, truth[name], seen(t, c, name), "%s, as client %d sees it", name, i)
				}
			}
			t.Logf("%d, %d and %d messages are left", len(truth[converging[0]]), len(truth[converging[1]]), len(truth[converging[2]]))
		})
	}
}

// change does one thing that mail programs do. Refusals are no errors that come of what others do at the same time.
func change(c *imapclient.Client, r *rand.Rand) error {
	if c.Mailbox() == nil || r.IntN(15) == 0 {
		_, err := c.Select(converging[r.IntN(len(converging))], nil).Wait()
		return err
	}
	target := converging[r.IntN(len(converging))]
	messages := c.Mailbox().NumMessages
	if messages == 0 || messages < 40 && r.IntN(6) == 0 {
		return appendTo(c, target, r.Uint32())
	}
	from := 1 + r.Uint32N(messages)
	some := imap.SeqSet{}
	some.AddRange(from, min(messages, from+r.Uint32N(4)))
	var err error
	switch n := r.IntN(20); {
	case n < 8:
		op := []imap.StoreFlagsOp{imap.StoreFlagsAdd, imap.StoreFlagsDel, imap.StoreFlagsSet}[r.IntN(3)]
		flag := []imap.Flag{imap.FlagSeen, imap.FlagFlagged, imap.FlagDeleted, "Work", imap.FlagForwarded}[r.IntN(5)]
		err = c.Store(some, &imap.StoreFlags{Op: op, Silent: r.IntN(2) == 0, Flags: []imap.Flag{flag}}, nil).Close()
	case n < 10 && messages < 60:
		_, err = c.Copy(some, target).Wait()
	case n < 13:
		_, err = c.Move(some, target).Wait()
	case n < 15:
		err = c.Expunge().Close()
	case n < 16:
		_, err = c.Search(&imap.SearchCriteria{NotFlag: []imap.Flag{imap.FlagSeen}}, nil).Wait()
	case n < 17:
		_, err = c.Fetch(some, &imap.FetchOptions{UID: true, Flags: true, Envelope: true}).Collect()
	case n < 18:
		var idle *imapclient.IdleCommand
		if idle, err = c.Idle(); err == nil {
			err = errors.Join(idle.Close(), idle.Wait())
		}
	default:
		err = c.Noop().Wait()
	}
	refused, ok := errors.AsType[*imap.Error](err)
	if ok && refused.Type == imap.StatusResponseTypeNo && refused.Code == "EXPUNGEISSUED" {
		return nil
	}
	return err
}

func appendTo(c *imapclient.Client, mailbox string, n uint32) error {
	message := harness.Compose(fmt.Sprint("message ", n), "text")
	cmd := c.Append(mailbox, int64(len(message)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagDraft}})
	_, err := cmd.Write(message)
	err = errors.Join(err, cmd.Close())
	_, answer := cmd.Wait()
	return errors.Join(err, answer)
}

// seen gives a mailbox as a client fetches it, one line a message.
func seen(t *testing.T, c *imapclient.Client, name string) (out []string) {
	t.Helper()
	data, err := c.Select(name, &imap.SelectOptions{CondStore: true}).Wait()
	require.NoError(t, err)
	if data.NumMessages == 0 {
		return nil
	}
	all := imap.SeqSet{}
	all.AddRange(1, data.NumMessages)
	messages, err := c.Fetch(all, &imap.FetchOptions{UID: true, Flags: true, ModSeq: true, RFC822Size: true}).Collect()
	require.NoError(t, err)
	for _, m := range messages {
		var flags []string
		for _, f := range m.Flags {
			flags = append(flags, strings.ToLower(string(f)))
		}
		out = append(out, messageLine(uint32(m.UID), flags, m.ModSeq, m.RFC822Size))
	}
	return out
}

func messageLine(uid uint32, flags []string, modseq uint64, size int64) string {
	slices.Sort(flags)
	return fmt.Sprintf("%d %v %d %d", uid, flags, modseq, size)
}

// stored gives the mailboxes as storage has them.
func stored(t *testing.T, s *harness.System) map[string][]string {
	t.Helper()
	tls, err := tlsconf.MutualClient(s.Identity(t, "imap"), "storage", tlsconf.Options{Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	conn, err := rpc.Dial(s.RPC["storage"], rpc.DialOptions{TLS: tls})
	require.NoError(t, err)
	defer conn.Close()
	storage, account := storagev1.NewStorageServiceClient(conn), s.AccountID(t, "alice")
	list, err := storage.ListMailboxes(t.Context(), &storagev1.ListMailboxesRequest{AccountId: account})
	require.NoError(t, err)
	out := map[string][]string{}
	for _, m := range list.GetMailboxes() {
		stream, err := storage.Sync(t.Context(), &storagev1.SyncRequest{AccountId: account, MailboxId: m.GetMailboxId()})
		require.NoError(t, err)
		for {
			answer, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			for _, state := range answer.GetChanged() {
				out[m.GetName()] = append(out[m.GetName()], messageLine(state.GetUid(), flagsOf(state), state.GetModseq(), int64(state.GetSize())))
			}
		}
	}
	return out
}

// flagsOf gives the flags of a message as IMAP has them, in lower case.
func flagsOf(state *storagev1.MessageState) (flags []string) {
	for bit, name := range map[storagev1.Flag]string{
		storagev1.Flag_FLAG_SEEN: `\seen`, storagev1.Flag_FLAG_ANSWERED: `\answered`, storagev1.Flag_FLAG_FLAGGED: `\flagged`,
		storagev1.Flag_FLAG_DELETED: `\deleted`, storagev1.Flag_FLAG_DRAFT: `\draft`,
	} {
		if state.GetFlags()&uint32(bit) != 0 {
			flags = append(flags, name)
		}
	}
	for _, keyword := range state.GetKeywords() {
		flags = append(flags, strings.ToLower(keyword))
	}
	return flags
}
