package clients

import (
	"os"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// TestMbsyncOverACompressedConnection: mbsync compresses if it may, and flushes with Z_PARTIAL_FLUSH. It uploads, downloads and carries changes.
func TestMbsyncOverACompressedConnection(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	d := mbsyncDevice(t, s, "alice", "IMAPS")
	c := s.IMAPClient(t, 0, "alice", nil)
	const added = "X-TUID"
	same := func() {
		t.Helper()
		r := d.try("", "mbsync", "--all", "--debug")
		require.Zero(t, r.code, r.all())
		require.Contains(t, r.stdout, " COMPRESS DEFLATE\r\n", "it was compressed")
		require.Equal(t, far(t, c, added), d.near(added))
	}
	s.Deliver(t, "alice", letter("Alpha", "Alpha", "from elsewhere"))
	same()
	for i, size := range []int{0, 1, 40, 1000, 30_000} { // lines
		id := string(rune('a' + i))
		d.create("INBOX", id+".local", lf(string(letter(id, "Upload "+id, strings.Repeat("a line like any other\n", size)))))
	}
	same()
	require.Len(t, d.near(added), 6)

	d.flag("INBOX", "Subject: Upload a", "FS")
	file, _ := d.message("INBOX", "Subject: Upload b")
	require.NoError(t, os.Remove(file))
	_, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	addFlags(t, c, allUIDs(), imap.FlagAnswered)
	s.Deliver(t, "alice", letter("Beta", "Beta", "from elsewhere"))
	same()
	require.Len(t, d.near(added), 6)
}
