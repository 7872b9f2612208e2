// Package imap tests the IMAP gateway as mail programs see it, on a running system: that it keeps to RFC 9051, that several devices are told
// the same, and that large mailboxes work.
package imap

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

var seedFlag = flag.Uint64("seed", 0, "seed of what the devices do; 0: by the clock")

// cheapPasswords spares the tests what logins cost.
var cheapPasswords = []string{
	"--directory-argon2-memory", "1MiB", "--directory-argon2-time", "1", "--directory-scram-iterations", "4096",
}

// TestDevicesAgree lets devices on two gateways change one mailbox at random, at the same time. Each checks all that it is told; at the end
// all believe the same, and it is true. Two more devices only idle.
func TestDevicesAgree(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	for _, devices := range []int{2, 4} {
		t.Run(fmt.Sprint(devices), func(t *testing.T) {
			t.Logf("seed %d", seed)
			s := harness.Start(t, harness.Options{Shape: harness.Split, IMAPGateways: 2, Accounts: []string{"alice"}, Args: cheapPasswords})
			first := connect(t, s, 0)
			for i := range 20 {
				first.append(fmt.Sprintf("message %d", i))
			}
			idlers := []*told{connect(t, s, 0), connect(t, s, 1)}
			for _, c := range idlers {
				c.ok("SELECT INBOX")
				c.ok("FETCH 1:* (UID FLAGS)")
				c.Do("i IDLE", `^\+ `)
			}
			agents := make([]*told, devices)
			for i := range agents {
				agents[i] = connect(t, s, i%2)
				agents[i].ok("SELECT INBOX")
			}
			var group sync.WaitGroup
			end := time.Now().Add(7 * time.Second)
			for i, c := range agents {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				group.Go(func() {
					for time.Now().Before(end) && !t.Failed() {
						c.act(r)
					}
				})
			}
			group.Wait()
			require.False(t, t.Failed(), "a device was told what cannot be")

			truth := agents[0].settle()
			for i, c := range agents[1:] {
				require.Equal(t, truth, c.settle(), "devices 0 and %d", i+1)
			}
			for i, c := range idlers {
				c.idleUntil(truth)
				require.Equal(t, truth, c.settle(), "idling device %d", i)
			}
			t.Logf("%d messages are left, UIDs go to %d", len(truth), slices.Max(append(agents[0].uids, 0)))
		})
	}
}

// append stores a message in the mailbox that it works in.
func (c *told) append(subject string) {
	c.t.Helper()
	message := harness.Compose(subject, "text")
	c.ok("APPEND %s (\\Draft) {%d+}\r\n%s", c.inbox, len(message), message)
}

// act does one thing that mail programs do.
func (c *told) act(r *rand.Rand) {
	if len(c.uids) < 3 {
		c.append("more")
		c.ok("NOOP")
		return
	}
	from := 1 + r.IntN(len(c.uids))
	to := min(len(c.uids), from+r.IntN(4))
	keyword := []string{`\Seen`, `\Flagged`, `\Answered`, "$Forwarded", fmt.Sprintf("Label%d", r.IntN(3))}[r.IntN(5)]
	switch r.IntN(16) {
	case 0:
		c.ok("NOOP")
	case 1:
		c.ok("FETCH 1:* (UID FLAGS)")
	case 2:
		c.do("FETCH %d:%d (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])", from, to)
	case 3:
		c.do("FETCH %d (FLAGS BODY[TEXT])", from) // sets \Seen
	case 4:
		c.store(from, to, "+", keyword, false)
	case 5:
		c.store(from, to, "-", keyword, true)
	case 6:
		c.store(from, to, "+", keyword, true)
	case 7:
		c.store(from, from, "", keyword, r.IntN(2) == 0)
	case 8:
		c.store(from, from, "+", `\Deleted`, true)
	case 9:
		c.ok("EXPUNGE")
	case 10:
		c.append("new")
	case 11:
		if len(c.uids) < 60 {
			c.ok("COPY %d:%d %s", from, to, c.inbox)
		} else {
			c.ok("MOVE %d:%d Trash", from, len(c.uids)-20)
		}
	case 12:
		c.moved(c.ok("MOVE %d Archive", from))
	case 13:
		c.ok("SEARCH %d:%d UNDELETED", from, to)
		c.ok("UID SEARCH RETURN (COUNT) ALL")
	case 14:
		c.idle()
	default:
		c.ok("SELECT %s", c.inbox)
	}
}

// moved checks the order of the answer to MOVE: COPYUID before any EXPUNGE (RFC 6851 section 4.3).
func (c *told) moved(lines []string) {
	c.t.Helper()
	copied := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "* OK [COPYUID ") })
	gone := slices.IndexFunc(lines, func(l string) bool { return strings.HasSuffix(l, " EXPUNGE") })
	if copied >= 0 && (gone < 0 || gone < copied) {
		c.t.Fatalf("MOVE was answered by %q", lines)
	}
}

// idle goes into IDLE and comes out again, DONE on the heels of it.
func (c *told) idle() {
	c.t.Helper()
	c.Send("i IDLE\r\nDONE\r\n")
	if _, tagged := c.answer("IDLE", "i"); !strings.HasPrefix(tagged, "OK") {
		c.t.Fatalf("IDLE: %s", tagged)
	}
}

// settle asks for all that is still untold, and gives what the device believes. What it believed of flags must have been true.
func (c *told) settle() []string {
	c.t.Helper()
	c.ok("NOOP")
	before := slices.Clone(c.flags)
	c.ok("FETCH 1:* (UID FLAGS)")
	require.Len(c.t, c.flags, len(before))
	for i, flags := range before {
		if flags != unknown {
			require.Equal(c.t, flags, c.flags[i], "flags of UID %d, as the device was told them", c.uids[i])
		}
	}
	return c.list()
}

// idleUntil hears what comes in IDLE until the device knows of all messages and, where it was told flags, of the last ones, and ends the IDLE.
func (c *told) idleUntil(truth []string) {
	c.t.Helper()
	c.heard = map[int]bool{}
	for !c.knows(truth) {
		c.hear(c.Line()) // fails after a while without a line
	}
	c.Send("DONE\r\n")
	if _, tagged := c.answer("IDLE", "i"); !strings.HasPrefix(tagged, "OK") {
		c.t.Fatalf("IDLE: %s", tagged)
	}
}

func (c *told) knows(truth []string) bool {
	if len(c.uids) != len(truth) {
		return false
	}
	for i, line := range truth {
		uid, flags, _ := strings.Cut(line, " ")
		if c.uids[i] != 0 && fmt.Sprint(c.uids[i]) != uid || c.flags[i] != unknown && "("+c.flags[i]+")" != flags {
			return false
		}
	}
	return true
}
