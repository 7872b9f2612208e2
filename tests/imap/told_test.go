package imap

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/yubin-mail/yubin/tests/harness"
)

// told is a client that keeps a list of messages and believes what the server says of it. It fails the test when the server
// contradicts itself.
type told struct {
	*harness.Wire
	t *testing.T
	n int
	// inbox is the mailbox that it works in.
	inbox string

	uids  []uint32 // by sequence number; 0: not known yet
	flags []string // sorted, with spaces between; unknown: not told yet
	heard map[int]bool
}

const unknown = "?"

// connect logs in alice on a gateway.
func connect(t *testing.T, s *harness.System, gateway int) *told {
	t.Helper()
	return connectAs(t, s, gateway, "alice")
}

// connectAs logs in somebody.
func connectAs(t *testing.T, s *harness.System, gateway int, name string) *told {
	t.Helper()
	c := &told{Wire: s.Wire(t, s.IMAPS[gateway], true), t: t, inbox: "INBOX"}
	c.Expect(`^\* OK \[CAPABILITY `)
	c.ok("LOGIN %s \"%s\"", harness.Address(name), harness.Password)
	return c
}

var (
	numbered = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE|FETCH)(?: \((.*))?$`)
	uidItem  = regexp.MustCompile(`\bUID (\d+)`)
	flagItem = regexp.MustCompile(`\bFLAGS \(([^)]*)\)`)
)

// do sends a command and gives its untagged lines and the tagged one without the tag.
func (c *told) do(format string, args ...any) (untagged []string, tagged string) {
	c.t.Helper()
	c.n++
	command, tag := fmt.Sprintf(format, args...), fmt.Sprintf("t%d", c.n)
	c.Send(tag + " " + command + "\r\n")
	name, _, _ := strings.Cut(command, " ")
	return c.answer(name, tag)
}

// answer reads the answer to a command.
func (c *told) answer(name, tag string) (untagged []string, tagged string) {
	c.t.Helper()
	c.heard = map[int]bool{}
	for {
		line := c.Line()
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			return untagged, rest
		}
		untagged = append(untagged, line)
		// RFC 9051 section 7.5.1.
		if strings.HasSuffix(line, " EXPUNGE") && (name == "FETCH" || name == "STORE" || name == "SEARCH") {
			c.t.Fatalf("%s in the answer to %s", line, name)
		}
		c.hear(line)
	}
}

// ok is do for a command that must succeed.
func (c *told) ok(format string, args ...any) []string {
	c.t.Helper()
	untagged, tagged := c.do(format, args...)
	if !strings.HasPrefix(tagged, "OK") {
		c.t.Fatalf("%s: %s", fmt.Sprintf(format, args...), tagged)
	}
	return untagged
}

// no is do for a command that must fail as the pattern says.
func (c *told) no(pattern, format string, args ...any) {
	c.t.Helper()
	if _, tagged := c.do(format, args...); !regexp.MustCompile("^" + pattern).MatchString(tagged) {
		c.t.Fatalf("%s: %s, want %s", fmt.Sprintf(format, args...), tagged, pattern)
	}
}

// hear believes one untagged line.
func (c *told) hear(line string) {
	c.t.Helper()
	if strings.HasPrefix(line, "* BYE") {
		c.t.Fatalf("the server said %q", line)
	}
	if strings.HasPrefix(line, "* OK [CLOSED]") {
		c.uids, c.flags = nil, nil
	}
	m := numbered.FindStringSubmatch(line)
	if m == nil {
		return
	}
	n, err := strconv.Atoi(m[1])
	switch {
	case err != nil:
		c.t.Fatalf("%s: %v", line, err)
	case m[2] == "EXISTS":
		if n < len(c.uids) {
			c.t.Fatalf("%s: there were %d, and no EXPUNGE came", line, len(c.uids))
		}
		for len(c.uids) < n {
			c.uids, c.flags = append(c.uids, 0), append(c.flags, unknown)
		}
	case n < 1 || n > len(c.uids):
		c.t.Fatalf("%s: there are %d messages", line, len(c.uids))
	case m[2] == "EXPUNGE":
		c.uids, c.flags = slices.Delete(c.uids, n-1, n), slices.Delete(c.flags, n-1, n)
	default:
		c.hearFetch(n, line, m[3])
	}
}

func (c *told) hearFetch(n int, line, items string) {
	c.t.Helper()
	if m := uidItem.FindStringSubmatch(items); m != nil {
		u, err := strconv.ParseUint(m[1], 10, 32)
		uid := uint32(u)
		if err != nil || c.uids[n-1] != 0 && c.uids[n-1] != uid {
			c.t.Fatalf("%s: its UID was %d", line, c.uids[n-1])
		}
		for i, other := range c.uids {
			if other != 0 && (i < n-1 && other >= uid || i > n-1 && other <= uid) {
				c.t.Fatalf("%s: message %d has UID %d", line, i+1, other)
			}
		}
		c.uids[n-1] = uid
	}
	if m := flagItem.FindStringSubmatch(items); m != nil {
		c.flags[n-1] = sorted(strings.Fields(m[1]))
		c.heard[n] = true
	}
}

func sorted(flags []string) string {
	flags = slices.Clone(flags)
	slices.Sort(flags)
	return strings.Join(slices.Compact(flags), " ")
}

// store changes flags of messages from..to and keeps the list as a client does: with silent, what it is not told is what it asked for.
func (c *told) store(from, to int, op, flag string, silent bool) {
	c.t.Helper()
	item := op + "FLAGS"
	if silent {
		item += ".SILENT"
	}
	_, tagged := c.do("STORE %d:%d %s (%s)", from, to, item, flag)
	for i := from; i <= to; i++ {
		known := strings.Fields(c.flags[i-1])
		switch {
		case c.heard[i]:
		case !strings.HasPrefix(tagged, "OK"):
			c.flags[i-1] = unknown // some are gone
		case !silent:
			c.t.Fatalf("STORE did not tell the flags of message %d", i)
		case op == "":
			c.flags[i-1] = flag
		case c.flags[i-1] == unknown:
		case op == "+":
			c.flags[i-1] = sorted(append(known, flag))
		default:
			c.flags[i-1] = sorted(slices.DeleteFunc(known, func(f string) bool { return f == flag }))
		}
	}
}

// list is what the client believes, one line a message.
func (c *told) list() []string {
	out := make([]string, len(c.uids))
	for i := range c.uids {
		out[i] = fmt.Sprintf("%d (%s)", c.uids[i], c.flags[i])
	}
	return out
}
