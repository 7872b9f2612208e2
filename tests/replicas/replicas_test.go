// Package replicas tests several replicas of every service on one PostgreSQL, one bucket and NATS: what their users notice when one is
// lost, which is to be nothing, and that all of them know what one of them did.
package replicas

import (
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// patience is longer than anything takes on a healthy system, however busy the machine.
const patience, tick = time.Minute, 50 * time.Millisecond

// start starts two replicas of everything.
func start(t *testing.T, opts harness.Options, accounts ...string) *harness.System {
	t.Helper()
	opts.Shape, opts.Accounts = harness.Production, accounts
	return harness.Start(t, opts)
}

// watcher is an IMAP client in IDLE on the INBOX.
type watcher struct {
	t      *testing.T
	exists chan uint32
	flags  chan []imap.Flag
	idle   *imapclient.IdleCommand
}

func watch(t *testing.T, s *harness.System, gateway int, name string) *watcher {
	t.Helper()
	w := &watcher{t: t, exists: make(chan uint32, 1000), flags: make(chan []imap.Flag, 1000)}
	c := s.IMAPClient(t, gateway, name, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				w.exists <- *data.NumMessages
			}
		},
		Fetch: func(m *imapclient.FetchMessageData) {
			if b, err := m.Collect(); err == nil {
				w.flags <- b.Flags
			}
		},
	}})
	_, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	w.idle, err = c.Idle()
	require.NoError(t, err)
	return w
}

// hears waits until the watcher knows of so many messages, and tells how long that took.
func (w *watcher) hears(messages uint32) time.Duration {
	w.t.Helper()
	begun, limit := time.Now(), time.After(patience)
	for {
		select {
		case n := <-w.exists:
			if n == messages {
				return time.Since(begun)
			}
		case <-limit:
			w.t.Fatalf("the watcher does not hear of %d messages", messages)
		}
	}
}

// bodies counts what is in a mailbox, through a gateway.
func count(t *testing.T, s *harness.System, gateway int, name string) int {
	t.Helper()
	return len(harness.Bodies(t, s.IMAPClient(t, gateway, name, nil), "INBOX"))
}

func TestAChangeThroughOneReplicaIsSeenThroughTheOther(t *testing.T) {
	for name, opts := range map[string]harness.ProductionOptions{"with NATS": {}, "without": {WithoutNATS: true}} {
		t.Run(name, func(t *testing.T) {
			s := start(t, harness.Options{ProductionOptions: opts}, "alice")
			watchers := []*watcher{watch(t, s, 0, "alice"), watch(t, s, 1, "alice")}
			for n := range uint32(10) {
				s.Via(int(n)%2).Deliver(t, "alice", harness.Compose("Hello", "x"))
				for i, w := range watchers {
					t.Logf("message %d, watcher %d: after %v", n+1, i, w.hears(n+1))
				}
			}
			actor := s.IMAPClient(t, 0, "alice", nil)
			_, err := actor.Select("INBOX", nil).Wait()
			require.NoError(t, err)
			require.NoError(t, actor.Store(imap.SeqSetNum(3), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}}, nil).Close())
			for _, w := range watchers {
				select {
				case flags := <-w.flags:
					require.Contains(t, flags, imap.FlagFlagged)
				case <-time.After(patience):
					t.Fatal("the flag is not seen")
				}
			}
			s.NoDrift(t)
		})
	}
}
