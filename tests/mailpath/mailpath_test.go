// Package mailpath tests Yubin's main job as its users see it, in both shapes: mail comes in, is read on two devices, is downloaded, and a
// full mailbox refuses more.
package mailpath

import (
	"bytes"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// inBothShapes runs a test on the all-in-one and on separate services.
func inBothShapes(t *testing.T, opts harness.Options, test func(t *testing.T, s *harness.System)) {
	t.Helper()
	for _, shape := range harness.Shapes {
		t.Run(string(shape), func(t *testing.T) {
			opts.Shape = shape
			test(t, harness.Start(t, opts))
		})
	}
}

func TestAMailIsReadOnTwoDevicesAndDownloaded(t *testing.T) {
	inBothShapes(t, harness.Options{Accounts: []string{"alice", "bob"}}, func(t *testing.T, s *harness.System) {
		message := harness.Compose("Lunch", "At twelve?\n.hidden dot\n")
		s.Deliver(t, "alice", message)

		phone, laptop := s.IMAPClient(t, 0, "alice", nil), s.IMAPClient(t, 0, "alice", nil)
		for _, device := range []*imapclient.Client{phone, laptop} {
			bodies := harness.Bodies(t, device, "INBOX")
			require.Len(t, bodies, 1)
			require.Equal(t, string(message), string(harness.AfterTrace(t, bodies[0])))
			require.Contains(t, string(bodies[0]), "Delivered-To: alice@example.test\r\n")
		}

		pop := s.POP3Client(t, "alice")
		require.Equal(t, 1, pop.Count())
		require.Equal(t, string(message), string(harness.AfterTrace(t, pop.Multi("RETR 1"))))
		pop.Do("DELE 1")
		pop.Do("QUIT")
		require.Empty(t, harness.Bodies(t, phone, "INBOX"), "POP3 deletes what it downloads, unless told otherwise")

		require.NoError(t, s.Submit(t, "bob", []string{harness.Address("alice")}, []byte("From: bob@example.test\r\nSubject: Yes\r\n\r\nFine\r\n")))
		require.Len(t, harness.Bodies(t, laptop, "INBOX"), 1)
	})
}

func TestTwoDevicesSeeEachOthersChangesAtOnce(t *testing.T) {
	for _, shape := range harness.Shapes {
		t.Run(string(shape), func(t *testing.T) {
			gateways := 1
			if shape == harness.Split {
				gateways = 2
			}
			s := harness.Start(t, harness.Options{Shape: shape, Accounts: []string{"alice"}, IMAPGateways: gateways})
			s.Deliver(t, "alice", harness.Compose("First", "one"))

			seen, gone, count := make(chan []imap.Flag, 10), make(chan uint32, 10), make(chan uint32, 10)
			watcher := s.IMAPClient(t, gateways-1, "alice", &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
				Expunge: func(n uint32) { gone <- n },
				Mailbox: func(data *imapclient.UnilateralDataMailbox) {
					if data.NumMessages != nil {
						count <- *data.NumMessages
					}
				},
				Fetch: func(m *imapclient.FetchMessageData) {
					if b, err := m.Collect(); err == nil {
						seen <- b.Flags
					}
				},
			}})
			_, err := watcher.Select("INBOX", nil).Wait()
			require.NoError(t, err)
			idle, err := watcher.Idle()
			require.NoError(t, err)

			actor := s.IMAPClient(t, 0, "alice", nil)
			_, err = actor.Select("INBOX", nil).Wait()
			require.NoError(t, err)
			one := imap.SeqSetNum(1)
			require.NoError(t, actor.Store(one, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen}}, nil).Close())
			require.Contains(t, await(t, seen), imap.FlagSeen)
			s.Deliver(t, "alice", harness.Compose("Second", "two"))
			require.EqualValues(t, 2, await(t, count))
			require.NoError(t, actor.Store(one, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}, nil).Close())
			require.Contains(t, await(t, seen), imap.FlagDeleted)
			require.NoError(t, actor.Expunge().Close())
			require.EqualValues(t, 1, await(t, gone))
			require.NoError(t, idle.Close())
		})
	}
}

// await takes from a channel, for a time that no healthy system needs.
func await[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("the change did not arrive")
		panic("unreachable")
	}
}

func TestAFullMailboxRefusesMoreUntilItIsCleanedUp(t *testing.T) {
	inBothShapes(t, harness.Options{Accounts: []string{"alice"}}, func(t *testing.T, s *harness.System) {
		s.CLI(t, "quota", "set", harness.Address("alice"), "100kB")
		big := harness.Compose("Holiday photos", strings.Repeat("0123456789abcdef\n", 3000)) // 54 kB
		s.Deliver(t, "alice", big)

		err := s.Send("sender@elsewhere.example", []string{harness.Address("alice")}, big)
		code, enhanced := harness.SMTPCode(err)
		require.Equal(t, 552, code, "%v", err)
		require.Equal(t, "5.2.2", enhanced, "the sender learns that the mailbox is full")
		s.Deliver(t, "alice", harness.Compose("Small", "this still fits"))

		c := s.IMAPClient(t, 0, "alice", nil)
		root, err := c.GetQuotaRoot("INBOX").Wait()
		require.NoError(t, err)
		usage := root[0].Resources[imap.QuotaResourceStorage]
		require.EqualValues(t, 97, usage.Limit, "100,000 octets in units of 1,024, rounded down")
		require.Greater(t, usage.Usage, int64(50))

		// imapclient closes a connection on which a literal was refused: take one for it.
		appended := s.IMAPClient(t, 0, "alice", nil).Append("INBOX", int64(len(big)), nil)
		_, _ = appended.Write(big) // fails where the server refuses before the literal
		_ = appended.Close()
		_, err = appended.Wait()
		require.ErrorContains(t, err, "OVERQUOTA")

		_, err = c.Select("INBOX", nil).Wait()
		require.NoError(t, err)
		_, err = c.Move(imap.SeqSetNum(1), "Archive").Wait()
		require.NoError(t, err, "moving works in a full mailbox")
		_, err = c.Select("Archive", nil).Wait()
		require.NoError(t, err)
		require.NoError(t, c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}, nil).Close())
		require.NoError(t, c.Expunge().Close())
		require.Eventually(t, func() bool {
			return s.Send("sender@elsewhere.example", []string{harness.Address("alice")}, big) == nil
		}, 30*time.Second, 50*time.Millisecond, "mail flows again after cleaning up")
		noDrift(t, s)
	})
}

// noDrift checks that the ledger says what is stored.
func noDrift(t *testing.T, s *harness.System) {
	t.Helper()
	out := s.CLI(t, "quota", "reconcile", "--json")
	require.NotContains(t, strings.ReplaceAll(out, " ", ""), `"drift_bytes":1`)
	for _, line := range strings.Split(out, "\n") {
		if strings.Contains(line, "drift") {
			require.Regexp(t, `drift_(bytes|messages)": *"?0"?,?$|drift_bytes":"?0"?,"drift_messages":"?0`, strings.TrimSpace(line))
		}
	}
}

func TestSixtyFourSendersAtOnceFillTheMailboxExactly(t *testing.T) {
	inBothShapes(t, harness.Options{Accounts: []string{"alice"}, Args: []string{"--quota-warn-levels", "1000"}}, func(t *testing.T, s *harness.System) {
		s.CLI(t, "quota", "set", harness.Address("alice"), "none", "--messages", "10")
		message := harness.Compose("One of many", "x")
		var stored, refused atomic.Int64
		var senders sync.WaitGroup
		for range 64 {
			senders.Go(func() {
				err := s.Send("sender@elsewhere.example", []string{harness.Address("alice")}, message)
				switch code, _ := harness.SMTPCode(err); {
				case err == nil:
					stored.Add(1)
				case code == 552:
					refused.Add(1)
				default:
					t.Errorf("neither stored nor refused for quota: %v", err)
				}
			})
		}
		senders.Wait()
		require.EqualValues(t, 10, stored.Load())
		require.EqualValues(t, 54, refused.Load())
		require.Len(t, harness.Bodies(t, s.IMAPClient(t, 0, "alice", nil), "INBOX"), 10)
		noDrift(t, s)
	})
}

func TestTheOwnerIsWarnedBeforeTheMailboxIsFull(t *testing.T) {
	inBothShapes(t, harness.Options{Accounts: []string{"alice"}}, func(t *testing.T, s *harness.System) {
		s.CLI(t, "quota", "set", harness.Address("alice"), "100kB")
		s.Deliver(t, "alice", harness.Compose("Photos", strings.Repeat("0123456789abcdef\n", 4600))) // 83 kB
		c := s.IMAPClient(t, 0, "alice", nil)
		require.Eventually(t, func() bool { return len(harness.Bodies(t, c, "INBOX")) == 2 }, 30*time.Second, 100*time.Millisecond)
		warning := harness.Bodies(t, c, "INBOX")[1]
		require.Contains(t, string(warning), "80")
		require.Contains(t, string(warning), "Auto-Submitted: auto-generated")
	})
}

func TestThePhoneDownloadsAndThePCStillHasIt(t *testing.T) {
	inBothShapes(t, harness.Options{Accounts: []string{"alice"}}, func(t *testing.T, s *harness.System) {
		s.CLI(t, "account", "set", harness.Address("alice"), "--pop-delete", "keep")
		s.Deliver(t, "alice", harness.Compose("Keep me", "please"))
		phone := s.POP3Client(t, "alice")
		phone.Multi("RETR 1")
		phone.Do("DELE 1")
		phone.Do("QUIT")
		phone = s.POP3Client(t, "alice")
		require.Zero(t, phone.Count(), "the phone does not download it again")
		phone.Do("QUIT")
		require.Len(t, harness.Bodies(t, s.IMAPClient(t, 0, "alice", nil), "INBOX"), 1, "the PC has it")

		s.CLI(t, "account", "set", harness.Address("alice"), "--pop-delete", "trash")
		s.Deliver(t, "alice", harness.Compose("To the trash", "please"))
		again := s.POP3Client(t, "alice")
		again.Do("DELE 1")
		again.Do("QUIT")
		require.Len(t, harness.Bodies(t, s.IMAPClient(t, 0, "alice", nil), "Trash"), 1)
	})
}

func TestOnlyOnePOP3SessionAtATime(t *testing.T) {
	inBothShapes(t, harness.Options{Accounts: []string{"alice"}}, func(t *testing.T, s *harness.System) {
		s.Deliver(t, "alice", harness.Compose("x", "y"))
		first := s.POP3Client(t, "alice")
		_, err := s.DialPOP3(t, "alice")
		require.ErrorContains(t, err, "[IN-USE]")
		first.Do("DELE 1")
		first.Drop()
		require.Eventually(t, func() bool {
			again, err := s.DialPOP3(t, "alice")
			return err == nil && again.Count() == 1
		}, 30*time.Second, 50*time.Millisecond, "the lease died with the session, and nothing was deleted")
	})
}

func TestTheOperatorBringsBackDeletedMail(t *testing.T) {
	inBothShapes(t, harness.Options{Accounts: []string{"alice"}}, func(t *testing.T, s *harness.System) {
		message := harness.Compose("Contract", "Do not lose this.")
		s.Deliver(t, "alice", message)
		pop := s.POP3Client(t, "alice")
		pop.Do("DELE 1")
		pop.Do("QUIT")
		c := s.IMAPClient(t, 0, "alice", nil)
		require.Empty(t, harness.Bodies(t, c, "INBOX"))
		require.Contains(t, s.CLI(t, "mailbox", "deleted", harness.Address("alice")), "Contract")
		s.CLI(t, "mailbox", "restore", harness.Address("alice"), "--all")
		bodies := harness.Bodies(t, c, "INBOX")
		require.Len(t, bodies, 1)
		require.Equal(t, string(message), string(harness.AfterTrace(t, bodies[0])))
		noDrift(t, s)
	})
}

func TestEverythingIsThereAfterARestart(t *testing.T) {
	inBothShapes(t, harness.Options{Accounts: []string{"alice"}}, func(t *testing.T, s *harness.System) {
		message := harness.Compose("Stay", strings.Repeat("0123456789abcdef\n", 100_000)) // an object of its own
		s.Deliver(t, "alice", message)
		small := harness.Compose("Stay too", "x")
		s.Deliver(t, "alice", small)
		s.Stop(t)
		s.Restart(t)
		bodies := harness.Bodies(t, s.IMAPClient(t, 0, "alice", nil), "INBOX")
		require.Len(t, bodies, 2)
		require.True(t, bytes.Equal(message, harness.AfterTrace(t, bodies[0])))
		require.Equal(t, string(small), string(harness.AfterTrace(t, bodies[1])))
		noDrift(t, s)
	})
}

func TestAliasesAndSubaddresses(t *testing.T) {
	inBothShapes(t, harness.Options{Accounts: []string{"alice", "bob"}}, func(t *testing.T, s *harness.System) {
		s.CLI(t, "alias", "add", harness.Address("team"), harness.Address("alice"), harness.Address("bob"))
		s.Deliver(t, "team", harness.Compose("To all", "x"))
		s.Deliver(t, "bob+lists", harness.Compose("To bob's tag", "x"))
		require.Len(t, harness.Bodies(t, s.IMAPClient(t, 0, "alice", nil), "INBOX"), 1)
		require.Len(t, harness.Bodies(t, s.IMAPClient(t, 0, "bob", nil), "INBOX"), 2)

		code, enhanced := harness.SMTPCode(s.Send("x@elsewhere.example", []string{harness.Address("nobody")}, harness.Compose("x", "y")))
		require.Equal(t, 550, code)
		require.Equal(t, "5.1.1", enhanced)
		s.CLI(t, "account", "set", harness.Address("bob"), "--disable")
		code, enhanced = harness.SMTPCode(s.Send("x@elsewhere.example", []string{harness.Address("bob")}, harness.Compose("x", "y")))
		require.Equal(t, 550, code)
		require.Equal(t, "5.2.1", enhanced)
	})
}
