package bench

import (
	"slices"
	"testing"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/bench/load"
	"github.com/yubin-mail/yubin/tests/harness"
)

// TestLoadCountsWhatIsDone compares what the workloads count with what the server has.
func TestLoadCountsWhatIsDone(t *testing.T) {
	const small, large = 12, 2
	h := harness.Start(t, harness.Options{Accounts: []string{reader}, Args: quick})
	accounts := []string{"u0", "u1", "u2"}
	s := yubin(t, "", h, accounts)
	s.fill(t, small, large)
	run := func(w load.Workload, turns int) load.Result {
		t.Helper()
		result, err := w.Run(t.Context(), s.target, load.Limit{Turns: turns})
		require.NoError(t, err, w.Name)
		return result
	}

	const connections, each = 3, 4
	for _, protocol := range []string{load.SMTP, load.LMTP} {
		result := run(load.Deliver(protocol, connections, 4<<10), each)
		require.EqualValues(t, connections*each, result.Count)
		require.InDelta(t, connections*each*(4<<10), result.Bytes, connections*each*200, "each message is of about the size asked for")
	}
	delivered := 0
	for _, name := range accounts {
		selected, err := h.IMAPClient(t, 0, name, nil).Select("INBOX", nil).Wait()
		require.NoError(t, err)
		delivered += int(selected.NumMessages)
	}
	require.Equal(t, 2*connections*each, delivered)

	before := s.counters(t)
	list := run(load.IMAPList(5), 3)
	require.EqualValues(t, 3*5, list.Count)
	require.Zero(t, s.counters(t).since(t, before, objectGets), "objects read for a list")

	c := h.IMAPClient(t, 0, reader, nil)
	bodies := harness.Bodies(t, c, "INBOX")
	require.Len(t, bodies, small+large)
	octets := len(slices.Concat(bodies...))
	imapDownload, pop3Download := run(load.IMAPDownload(), 2), run(load.POP3Download(), 1)
	require.EqualValues(t, 2*(small+large), imapDownload.Count)
	require.EqualValues(t, 2*octets, imapDownload.Bytes)
	require.EqualValues(t, small+large, pop3Download.Count)
	require.EqualValues(t, octets, pop3Download.Bytes, "no line of the messages begins with a dot")

	require.EqualValues(t, 5, run(load.IMAPFlags(), 5).Count)
	found, err := c.UIDSearch(&goimap.SearchCriteria{Flag: []goimap.Flag{goimap.FlagSeen}}, nil).Wait()
	require.NoError(t, err)
	require.Len(t, found.AllUIDs(), 5)
	require.EqualValues(t, 2, run(load.IMAPOpen(), 2).Count)
}
