package session

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// follower believes what the server says, as a client that keeps a list of messages does.
type follower struct {
	*talk
	uids  []uint32 // by sequence number; 0: not known yet
	flags []string
	err   error
}

var (
	numbered = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE|FETCH)(?: \((.*)\))?$`)
	uidItem  = regexp.MustCompile(`UID (\d+)`)
	flagItem = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
)

// hear takes one untagged line.
func (f *follower) hear(line string) {
	m := numbered.FindStringSubmatch(line)
	if m == nil {
		return
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		f.err = err
		return
	}
	switch {
	case m[2] == "EXISTS":
		if n < len(f.uids) {
			f.err = fmt.Errorf("%s: %d messages are known", line, len(f.uids))
		}
		for len(f.uids) < n {
			f.uids, f.flags = append(f.uids, 0), append(f.flags, "?")
		}
	case n < 1 || n > len(f.uids):
		f.err = fmt.Errorf("%s: %d messages are known", line, len(f.uids))
	case m[2] == "EXPUNGE":
		f.uids, f.flags = slices.Delete(f.uids, n-1, n), slices.Delete(f.flags, n-1, n)
	default:
		if uid := uidItem.FindStringSubmatch(m[3]); uid != nil {
			u, err := strconv.ParseUint(uid[1], 10, 32)
			if known := f.uids[n-1]; err != nil || known != 0 && known != uint32(u) {
				f.err = fmt.Errorf("%s: the client knows UID %d", line, known)
			}
			f.uids[n-1] = uint32(u)
		}
		if flags := flagItem.FindStringSubmatch(m[3]); flags != nil {
			f.flags[n-1] = flags[1]
		}
	}
}

// command sends one and takes its answers. Commands with sequence numbers must not be answered by EXPUNGE.
func (f *follower) command(format string, args ...any) (tagged string) {
	text := fmt.Sprintf(format, args...)
	untagged, tagged := f.do("%s", text)
	name, _, _ := strings.Cut(text, " ")
	for _, line := range untagged {
		if strings.HasSuffix(line, " EXPUNGE") && (name == "FETCH" || name == "STORE" || name == "SEARCH") {
			f.err = fmt.Errorf("%s in the answer to %s", line, text)
		}
		f.hear(line)
		if f.err != nil {
			f.t.Fatalf("after %s: %v", text, f.err)
		}
	}
	return tagged
}

// TestConcurrentSessions lets sessions change one mailbox at random, at the same time, and compares what each
// came to believe with the truth.
func TestConcurrentSessions(t *testing.T) {
	g := newGateway(t)
	for range 30 {
		g.storage.deliver("INBOX", mail1)
	}
	const sessions = 6
	followers := make([]*follower, sessions)
	for i := range followers {
		followers[i] = &follower{talk: g.login()}
		followers[i].command("SELECT INBOX")
	}
	var group sync.WaitGroup
	for i, f := range followers {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 3))
			for range 150 {
				pick := 1 + r.IntN(max(len(f.uids), 1))
				if len(f.uids) == 0 {
					f.command("NOOP")
				}
				switch r.IntN(10) {
				case 0, 1:
					f.command("FETCH 1:* (UID FLAGS)")
				case 2:
					f.command("STORE %d +FLAGS (\\Deleted)", pick)
				case 3:
					f.command("STORE %d -FLAGS.SILENT (\\Flagged)", pick)
					f.command("UID FETCH 1:* FLAGS")
				case 4:
					f.command("UID STORE 1:* +FLAGS (\\Flagged k%d)", r.IntN(3))
				case 5:
					f.command("EXPUNGE")
				case 6:
					f.command("FETCH %d (UID BODY.PEEK[TEXT])", pick)
				case 7:
					f.command("COPY %d INBOX", pick)
				case 8:
					f.command("SEARCH UNDELETED 1:%d", pick)
				default:
					f.command("NOOP")
				}
			}
		})
	}
	group.Wait()
	g.storage.mu.Lock()
	box, err := g.storage.named("INBOX")
	if err != nil {
		t.Fatal(err)
	}
	var uids []uint32
	for _, m := range box.messages {
		uids = append(uids, m.state.Uid)
	}
	g.storage.mu.Unlock()
	var flags []string
	for _, f := range followers {
		f.command("NOOP")
		told := slices.Clone(f.flags) // by what others did alone
		f.command("FETCH 1:* (UID FLAGS)")
		if !slices.Equal(f.uids, uids) {
			t.Errorf("a session has %d messages, there are %d", len(f.uids), len(uids))
		}
		for i := range told {
			if told[i] != "?" && told[i] != f.flags[i] {
				t.Errorf("UID %d: the session was told (%s), it has (%s)", f.uids[i], told[i], f.flags[i])
			}
		}
		if flags == nil {
			flags = f.flags
		}
		if !slices.Equal(flags, f.flags) {
			t.Error("two sessions differ in flags")
		}
	}
}
