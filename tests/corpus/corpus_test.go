package corpus

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

type digest [sha256.Size]byte

// TestRealMailComesThroughByteForByte delivers the corpus over SMTP and reads each mail back over IMAP and POP3.
func TestRealMailComesThroughByteForByte(t *testing.T) {
	mails, err := Load(filepath.Join(harness.Root(t), ".cache", "corpus"))
	require.NoError(t, err)
	mails = append(mails, mails[0]) // two mails with one Message-ID stay two
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	deliver(t, s, mails)

	want := map[digest]int{}
	for _, m := range mails {
		want[sha256.Sum256(m)]++
	}
	t.Run("IMAP", func(t *testing.T) { overIMAP(t, s, want, len(mails)) })
	t.Run("structures", func(t *testing.T) { structures(t, s, len(mails)) })
	t.Run("POP3", func(t *testing.T) { overPOP3(t, s, want, len(mails)) })
	require.Regexp(t, `"used_messages": *"?6047`, s.CLI(t, "quota", "show", harness.Address("alice"), "--json"))
	fmt.Fprintf(os.Stderr, "corpus: %d mails delivered over SMTP and read back over IMAP and POP3, byte for byte\n", len(mails))
}

// deliver sends the mails over a few connections at once.
func deliver(t *testing.T, s *harness.System, mails [][]byte) {
	t.Helper()
	const connections = 8
	var senders sync.WaitGroup
	for part := range connections {
		senders.Go(func() {
			c, err := smtp.Dial(s.SMTP)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for i := part; i < len(mails); i += connections {
				if err := c.SendMail("sender@elsewhere.example", []string{harness.Address("alice")}, strings.NewReader(string(mails[i]))); err != nil {
					t.Errorf("mail %d: %v", i, err)
					return
				}
			}
		})
	}
	senders.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func overIMAP(t *testing.T, s *harness.System, want map[digest]int, n int) {
	bodies := harness.Bodies(t, s.IMAPClient(t, 0, "alice", nil), "INBOX")
	require.Len(t, bodies, n)
	got := map[digest]int{}
	for _, b := range bodies {
		got[sha256.Sum256(harness.AfterTrace(t, b))]++
	}
	require.Equal(t, want, got)
}

func overPOP3(t *testing.T, s *harness.System, want map[digest]int, n int) {
	pop := s.POP3Client(t, "alice")
	require.Equal(t, n, pop.Count())
	require.Len(t, slices.Collect(strings.Lines(string(pop.Multi("UIDL")))), n)
	got := map[digest]int{}
	for i := range n {
		got[sha256.Sum256(harness.AfterTrace(t, pop.Multi(fmt.Sprintf("RETR %d", i+1))))]++
	}
	require.Equal(t, want, got)
}

// structures lets imapclient parse every ENVELOPE and BODYSTRUCTURE.
func structures(t *testing.T, s *harness.System, n int) {
	c := s.IMAPClient(t, 0, "alice", nil)
	_, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	all := imap.SeqSet{}
	all.AddRange(1, uint32(n))
	messages, err := c.Fetch(all, &imap.FetchOptions{
		Envelope: true, RFC822Size: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
	}).Collect()
	require.NoError(t, err)
	require.Len(t, messages, n)
	subjects := 0
	for _, m := range messages {
		require.NotNil(t, m.Envelope)
		require.NotNil(t, m.BodyStructure)
		if m.Envelope.Subject != "" {
			subjects++
		}
		m.BodyStructure.Walk(func(_ []int, part imap.BodyStructure) bool {
			if single, ok := part.(*imap.BodyStructureSinglePart); ok {
				require.LessOrEqual(t, int64(single.Size), m.RFC822Size)
			}
			return true
		})
	}
	require.Greater(t, subjects, n*9/10, "nearly all real mail has a subject")
}
