package imap

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// large is more messages than storage changes in one call.
const large = 1 << 17

// TestLargeMailbox uses a mailbox of 131,072 messages with single commands.
func TestLargeMailbox(t *testing.T) {
	s := harness.Start(t, harness.Options{Shape: harness.Split, Accounts: []string{"alice"}, Args: cheapPasswords})
	c := connect(t, s, 0)
	timed := func(what string, do func()) {
		begun := time.Now()
		do()
		t.Logf("%-40s %v", what, time.Since(begun).Round(time.Millisecond))
	}
	c.ok("APPEND Archive {30+}\r\nSubject: one\r\n\r\nJust a line.\r\n")
	c.ok("SELECT Archive")
	timed("COPY 1:* until there are 131,072", func() {
		for n := 1; n < large; n *= 2 {
			contains(t, c.ok("COPY 1:* Archive"), fmt.Sprintf("* %d EXISTS", 2*n))
		}
	})
	require.Len(t, c.uids, large)
	other := connect(t, s, 0)
	timed("SELECT, a second session", func() { other.ok("SELECT Archive") })
	timed("UID FETCH 1:* (FLAGS)", func() { require.Len(t, lines(c, "UID FETCH 1:* (FLAGS)"), large) })
	timed("NOOP", func() { c.ok("NOOP") })
	timed("UID SEARCH RETURN (COUNT) UNSEEN", func() {
		require.Contains(t, strings.Join(c.ok("UID SEARCH RETURN (COUNT) UNSEEN"), ""), fmt.Sprintf("COUNT %d", large))
	})
	timed("STORE 1:* +FLAGS.SILENT", func() { require.Empty(t, lines(c, `STORE 1:* +FLAGS.SILENT (\Flagged)`)) })
	timed("what the second session hears of it", func() { require.Len(t, lines(other, "NOOP"), large) })
	timed("MOVE 1:*", func() {
		heard := lines(c, "MOVE 1:* Trash")
		var moved, expunged int
		for _, line := range heard {
			switch {
			case strings.HasPrefix(line, "* OK [COPYUID "):
				moved += uidsIn(t, line)
			case strings.HasSuffix(line, " EXPUNGE"):
				expunged++
			}
		}
		require.Equal(t, large, moved)
		require.Equal(t, large, expunged)
	})
	contains(t, c.ok("STATUS Trash (MESSAGES UNSEEN)"), fmt.Sprintf("* STATUS Trash (MESSAGES %d UNSEEN %d)", large, large))
	contains(t, c.ok("STATUS Archive (MESSAGES)"), "* STATUS Archive (MESSAGES 0)")
}

// lines is ok for an answer of many lines, which are not checked one by one.
func lines(c *told, command string) []string {
	c.t.Helper()
	c.Send("l " + command + "\r\n")
	var out []string
	for {
		line := c.Line()
		if rest, ok := strings.CutPrefix(line, "l "); ok {
			require.True(c.t, strings.HasPrefix(rest, "OK"), "%s: %s", command, rest)
			return out
		}
		out = append(out, line)
	}
}

var copyUID = regexp.MustCompile(`COPYUID \d+ ([\d:,]+) ([\d:,]+)`)

// uidsIn counts the UIDs of a COPYUID code.
func uidsIn(t *testing.T, line string) (n int) {
	t.Helper()
	for r := range strings.SplitSeq(copyUID.FindStringSubmatch(line)[1], ",") {
		from, to := 0, 0
		if parts, err := fmt.Sscanf(r, "%d:%d", &from, &to); parts < 2 {
			require.Equal(t, 1, parts, "%q: %v", r, err)
			to = from
		}
		n += to - from + 1
	}
	return n
}
