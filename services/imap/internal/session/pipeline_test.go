package session

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// pipelined gives a random command that a client may send without waiting for the answers to those before it.
func pipelined(r *rand.Rand, messages int) (command string, reads bool) {
	n := 1 + r.IntN(messages)
	set := fmt.Sprintf("%d:%d", n, min(n+r.IntN(4), messages))
	switch r.IntN(20) {
	case 0:
		return fmt.Sprintf("STORE %s +FLAGS (k%d)", set, r.IntN(4)), false
	case 1:
		return fmt.Sprintf("UID STORE %s -FLAGS (\\Seen k%d)", set, r.IntN(4)), false
	case 2:
		return fmt.Sprintf("FETCH %s BODY[TEXT]", set), true // sets \Seen
	case 3:
		return "NOOP", false
	case 4:
		return fmt.Sprintf("SEARCH RETURN (SAVE) TEXT \"body %d\"", n), false
	case 5:
		return "UID FETCH $ (UID FLAGS)", true
	case 6:
		return "SEARCH UNSEEN TEXT body", true
	case 7:
		return fmt.Sprintf("UID SEARCH RETURN (COUNT ALL) KEYWORD k%d", r.IntN(4)), true
	case 8:
		return "SORT (REVERSE SUBJECT) UTF-8 KEYWORD k1", true
	case 9:
		return "THREAD ORDEREDSUBJECT UTF-8 " + set, true
	case 10:
		return `LIST "" * RETURN (STATUS (MESSAGES UNSEEN))`, true
	case 11, 12:
		return "STATUS " + []string{"INBOX", "Sent", "Trash"}[r.IntN(3)] + " (MESSAGES UNSEEN)", true
	case 13:
		return "UID FETCH " + set + " (FLAGS)", true
	case 14:
		return "FETCH " + set + " (FLAGS ENVELOPE)", true
	case 15:
		return "GETQUOTAROOT INBOX", true
	default:
		return fmt.Sprintf("UID FETCH %s (FLAGS BODY.PEEK[])", set), true
	}
}

// TestPipelinesGiveWhatOrderGives plays random pipelines twice, with commands that run beside each other, and one after the other. Each
// command must be answered alike, and what comes between two commands that change something must be the same.
func TestPipelinesGiveWhatOrderGives(t *testing.T) {
	const messages, commands = 12, 400
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 7))
		var script strings.Builder
		var tags []string
		barrier := map[string]bool{}
		for i := range commands {
			command, reads := pipelined(r, messages)
			tag := fmt.Sprintf("t%d", i)
			tags = append(tags, tag)
			barrier[tag] = !reads
			fmt.Fprintf(&script, "%s %s\r\n", tag, command)
		}
		play := func(pipeline int) (tagged map[string]string, segments [][]string, told []string) {
			g := filled(t, messages, func(o *Options) { o.Limits.Pipeline = pipeline })
			a := g.gate() // no message comes with others
			wait := rand.New(rand.NewPCG(seed, 8))
			var mu sync.Mutex
			a.slow = func() {
				mu.Lock()
				n := wait.IntN(30)
				mu.Unlock()
				for range n {
					runtime.Gosched()
				}
			}
			k := g.selected("INBOX")
			go k.send("%s", script.String())
			tagged = map[string]string{}
			f := &follower{talk: k, uids: make([]uint32, messages), flags: slices.Repeat([]string{"?"}, messages)}
			var segment []string
			for _, response := range k.tags(tags...) {
				tag, rest, _ := strings.Cut(response, " ")
				if tag == "*" {
					segment = append(segment, rest)
					f.hear(strings.ReplaceAll(response, "\r\n", " "))
					continue
				}
				tagged[tag] = rest
				if barrier[tag] {
					slices.Sort(segment)
					segments, segment = append(segments, segment), nil
				}
			}
			if f.err != nil {
				t.Errorf("seed %d: %v", seed, f.err)
			}
			if pipeline > 1 && a.most < 2 {
				t.Errorf("seed %d: no commands ran beside each other", seed)
			}
			told = slices.Clone(f.flags)
			k.ok("NOOP")
			f.command("FETCH 1:* (UID FLAGS)")
			for i, flags := range told {
				if flags != "?" && flags != f.flags[i] {
					t.Errorf("seed %d: the session was told (%s) of message %d, it has (%s)", seed, flags, i+1, f.flags[i])
				}
			}
			return tagged, append(segments, segment), told
		}
		tagged, segments, told := play(4)
		wantTagged, wantSegments, wantTold := play(1)
		for _, tag := range tags {
			if tagged[tag] != wantTagged[tag] {
				t.Errorf("seed %d: %s got %q, alone %q", seed, tag, tagged[tag], wantTagged[tag])
			}
		}
		if len(segments) != len(wantSegments) {
			t.Fatalf("seed %d: %d and %d segments", seed, len(segments), len(wantSegments))
		}
		for i := range segments {
			slices.Sort(wantSegments[i])
			slices.Sort(segments[i])
			if !slices.Equal(segments[i], wantSegments[i]) {
				t.Fatalf("seed %d, segment %d:\n got:\n  %s\n want:\n  %s", seed, i, strings.Join(segments[i], "\n  "), strings.Join(wantSegments[i], "\n  "))
			}
		}
		if !slices.Equal(told, wantTold) {
			t.Errorf("seed %d: the client believes %q, alone %q", seed, told, wantTold)
		}
	}
}

// TestPipelinesOfSeveralSessions lets sessions that pipeline change one mailbox at the same time, and compares what each came to believe with
// the truth.
func TestPipelinesOfSeveralSessions(t *testing.T) {
	g := filled(t, 20)
	g.gate()
	const sessions = 4
	followers := make([]*follower, sessions)
	for i := range followers {
		followers[i] = &follower{talk: g.login()}
		followers[i].command("SELECT INBOX")
	}
	var group sync.WaitGroup
	for i, f := range followers {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 9))
			for round := range 60 {
				var script strings.Builder
				var tags []string
				numbers := r.IntN(2) == 0 // RFC 9051 section 5.5: not behind commands in which messages may be expunged
				for n := range 2 + r.IntN(8) {
					tag := fmt.Sprintf("r%d-%d", round, n)
					tags = append(tags, tag)
					pick := 1 + r.IntN(max(len(f.uids), 1))
					command := fmt.Sprintf("FETCH %d (UID FLAGS BODY.PEEK[TEXT])", pick)
					switch {
					case numbers && len(f.uids) == 0:
						command = "SEARCH ALL"
					case numbers && r.IntN(5) == 0:
						command = fmt.Sprintf("STORE %d +FLAGS (\\Deleted)", pick)
					case numbers:
					default:
						command = []string{
							"UID FETCH 1:* (FLAGS)", "UID FETCH 1:9 BODY.PEEK[TEXT]", "UID FETCH 10:* BODY.PEEK[TEXT]", "UID SEARCH TEXT body", "STATUS INBOX (MESSAGES)",
							fmt.Sprintf("UID STORE 1:* +FLAGS (k%d)", r.IntN(3)), "EXPUNGE", "UID COPY 1:5 INBOX", "NOOP",
						}[r.IntN(9)]
					}
					fmt.Fprintf(&script, "%s %s\r\n", tag, command)
				}
				f.send("%s", script.String())
				for _, response := range f.tags(tags...) {
					if numbers && strings.HasSuffix(response, " EXPUNGE") {
						f.t.Errorf("%s while sequence numbers were used", response)
					}
					f.hear(strings.ReplaceAll(response, "\r\n", " "))
				}
				if f.err != nil {
					f.t.Errorf("round %d: %v", round, f.err)
					return
				}
			}
		})
	}
	group.Wait()
	var uids []uint32
	for _, f := range followers {
		f.command("NOOP")
		told := slices.Clone(f.flags)
		f.command("FETCH 1:* (UID FLAGS)")
		if uids == nil {
			uids = f.uids
		}
		if !slices.Equal(f.uids, uids) {
			t.Errorf("a session has %v, another has %v", f.uids, uids)
		}
		for i := range told {
			if told[i] != "?" && told[i] != f.flags[i] {
				t.Errorf("UID %d: the session was told (%s), it has (%s)", f.uids[i], told[i], f.flags[i])
			}
		}
	}
}
