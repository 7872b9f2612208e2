package imap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// TestAnOperatorSetsQuotaFromAMailProgram: SETQUOTA (RFC 9208) takes effect at once, also for others.
func TestAnOperatorSetsQuotaFromAMailProgram(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{
		Accounts: []string{"alice", "bob"}, Args: append([]string{"--quota-limits-by-imap", "--imap-operators=" + strings.ToUpper(harness.Address("alice"))}, cheapPasswords...),
	})
	c := connect(t, s, 0)
	require.Contains(t, strings.Join(c.ok("CAPABILITY"), " "), " QUOTASET ")
	contains(t, c.ok(`SETQUOTA "User quota" (STORAGE 1 MESSAGE 5)`), `* QUOTA "User quota" (STORAGE 0 1 MESSAGE 0 5)`)
	c.no("NO \\[OVERQUOTA\\]", "APPEND INBOX {1025+}\r\n%s", strings.Repeat("x", 1025))
	c.ok("APPEND INBOX {1024+}\r\n%s", strings.Repeat("x", 1024))
	// A full mailbox: what is no larger takes the place of what is there.
	c.ok("SELECT INBOX")
	c.no("NO \\[OVERQUOTA\\]", "REPLACE 1 INBOX {1025+}\r\n%s", strings.Repeat("y", 1025))
	contains(t, c.ok("REPLACE 1 INBOX {1024+}\r\n%s", strings.Repeat("y", 1024)), "* 1 EXPUNGE")

	bob := harness.Address("bob")
	contains(t, c.ok("SETQUOTA %s (STORAGE 7)", bob), fmt.Sprintf(`* QUOTA "%s" (STORAGE 0 7)`, bob))
	contains(t, c.ok("GETQUOTA %s", bob), fmt.Sprintf(`* QUOTA "%s" (STORAGE 0 7)`, bob))
	c.no("NO \\[NONEXISTENT\\]", "GETQUOTA nobody@%s", strings.SplitN(bob, "@", 2)[1])
	c.no("NO \\[NONEXISTENT\\]", "SETQUOTA who@elsewhere.example (STORAGE 7)")
}
