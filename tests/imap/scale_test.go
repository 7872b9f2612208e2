package imap

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// quiet keeps a system from doing anything but what a test asks for; profiles let the test collect garbage.
var quiet = append([]string{"--storage-index-text", "0", "--admin-pprof=true"}, cheapPasswords...)

// metric reads one value without labels of a process.
func metric(t *testing.T, p *harness.Process, name string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(p.Metrics(t))
	require.NotNil(t, m, "%s of %s", name, p.Name)
	v, err := strconv.ParseFloat(m[1], 64)
	require.NoError(t, err)
	return v
}

// fill makes a mailbox of n messages, a power of two.
func fill(t *testing.T, s *harness.System, name string, n int) {
	t.Helper()
	c := connect(t, s, 0)
	defer c.Drop()
	c.ok("CREATE %s", name)
	c.ok("APPEND %s {30+}\r\nSubject: one\r\n\r\nJust a line.\r\n", name)
	c.ok("SELECT %s", name)
	for have := 1; have < n; have *= 2 {
		c.ok("COPY 1:* %s", name)
	}
	c.ok("STORE 1:* +FLAGS.SILENT (\\Seen)")
}

// TestCostOfALargeMailbox counts what commands cost that need not look at every message: what they print, which messages the services send
// each other, and how much memory gateway and storage use for them, does not depend on the mailbox.
func TestCostOfALargeMailbox(t *testing.T) {
	const few, many, times = 1 << 10, 1 << 15, 20
	s := harness.Start(t, harness.Options{Shape: harness.Split, Accounts: []string{"alice"}, Args: quiet})
	c := connect(t, s, 0)
	processes := []*harness.Process{s.Process(t, "imap-0"), s.Process(t, "storage")}
	type cost struct {
		lines  int
		octets [2]float64 // allocated by each process
	}
	costs := map[string]map[int]cost{}
	for _, n := range []int{few, many} {
		box := fmt.Sprintf("Box%d", n)
		fill(t, s, box, n)
		// Somebody has the mailbox open, so that the gateway knows it.
		holder := connect(t, s, 0)
		holder.ok("SELECT %s", box)
		c.ok("ENABLE QRESYNC")
		_, status, _ := strings.Cut(c.ok("STATUS %s (UIDVALIDITY HIGHESTMODSEQ)", box)[0], "(")
		var validity, modseq uint64
		_, err := fmt.Sscanf(status, "UIDVALIDITY %d HIGHESTMODSEQ %d)", &validity, &modseq)
		require.NoError(t, err, "%s", status)
		for _, seq := range []int{3, n / 2, n} {
			holder.ok("STORE %d +FLAGS.SILENT (\\Flagged)", seq)
		}
		measure := func(name string, commands ...string) {
			t.Helper()
			once := func() (printed int) {
				for _, command := range commands {
					printed += len(lines(c, command))
				}
				return printed
			}
			once() // for what is kept from then on
			var was, is [2]float64
			for i, p := range processes {
				was[i] = metric(t, p, "go_memstats_alloc_bytes_total")
			}
			printed := 0
			for range times {
				printed = once()
			}
			for i, p := range processes {
				is[i] = metric(t, p, "go_memstats_alloc_bytes_total") - was[i]
			}
			if costs[name] == nil {
				costs[name] = map[int]cost{}
			}
			costs[name][n] = cost{printed, is}
		}
		measure("SELECT", "SELECT "+box, "UNSELECT")
		measure("SELECT QRESYNC", fmt.Sprintf("SELECT %s (QRESYNC (%d %d))", box, validity, modseq), "UNSELECT")
		resync := strings.Join(lines(c, fmt.Sprintf("SELECT %s (QRESYNC (%d %d))", box, validity, modseq)), "\n")
		require.Equal(t, 3, strings.Count(resync, " FETCH (UID "), "what has changed, and no more: %s", resync)
		lines(c, "UNSELECT")
		measure("STATUS", "STATUS "+box+" (MESSAGES UNSEEN UIDNEXT SIZE DELETED HIGHESTMODSEQ)")
		measure("LIST RETURN STATUS", `LIST "" `+box+" RETURN (STATUS (MESSAGES UNSEEN SIZE))")
		lines(c, "SELECT "+box)
		measure("NOOP", "NOOP")
		measure("CHANGEDSINCE", fmt.Sprintf("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)", modseq))
		measure("FETCH of one", "FETCH 5 (FLAGS RFC822.SIZE)")
		measure("STORE of one", `STORE 5 +FLAGS.SILENT (\Answered)`, `STORE 5 -FLAGS.SILENT (\Answered)`)
		lines(c, "UNSELECT")
		holder.Drop()
	}
	for name, by := range costs {
		// What is proportional to the mailbox would be a MB for each command, and much more in storage.
		assert.LessOrEqual(t, by[many].lines, by[few].lines, "%s prints", name)
		for i, p := range processes {
			t.Logf("%-20s %-8s %10.0f octets of %d messages, %10.0f of %d", name, p.Name, by[few].octets[i]/times, few, by[many].octets[i]/times, many)
			assert.Less(t, by[many].octets[i], 2*by[few].octets[i]+times*float64(128<<10), "%s in %s", name, p.Name)
		}
	}
}

// TestSlowReadersHoldLittle has clients ask for much and read nothing: what gateway and storage hold for them is bounded.
func TestSlowReadersHoldLittle(t *testing.T) {
	const n, readers = 1 << 14, 8
	// All readers together hold less than one of them would get for its 20 commands; how much it is just now depends on what runs.
	const mostHeld = 100.0
	s := harness.Start(t, harness.Options{Shape: harness.Split, Accounts: []string{"alice"}, Args: quiet})
	c := connect(t, s, 0)
	fill(t, s, "Many", n)
	for i := range 300 {
		c.ok("CREATE %s%d", strings.Repeat("long", 20), i)
	}
	c.ok("SELECT Many")
	c.ok("UID SEARCH RETURN (COUNT) ALL")
	for i := 1; i < n; i += 1024 { // every other message, so that no ranges can be printed
		var set []string
		for j := i; j < i+1024; j += 2 {
			set = append(set, strconv.Itoa(j))
		}
		c.ok("STORE %s +FLAGS.SILENT (\\Flagged)", strings.Join(set, ","))
	}
	processes := []*harness.Process{s.Process(t, "imap-0"), s.Process(t, "storage")}
	held := func() (octets [2]float64) {
		for i, p := range processes {
			p.Collect(t)
			octets[i] = metric(t, p, "go_memstats_heap_alloc_bytes")
		}
		return octets
	}
	before := held()
	for _, command := range []string{
		"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)",
		"FETCH 1:* (UID FLAGS BODY.PEEK[])",
		"UID SEARCH FLAGGED",
		`LIST "" *`,
	} {
		for range readers {
			w := s.Wire(t, s.IMAPS[0], true)
			w.Expect(`^\* OK`)
			w.Do(fmt.Sprintf(`a LOGIN %s "%s"`, harness.Address("alice"), harness.Password), `^a OK`)
			w.Do("b SELECT Many", `^b OK`)
			w.Send(strings.Repeat("c "+command+"\r\n", 20))
			w.Line() // it answers, and nobody reads on
		}
		lines(c, "FETCH 1:* (UID ENVELOPE)") // as long as that takes the others might have read ahead
		for i, now := range held() {
			grown := (now - before[i]) / (1 << 20)
			t.Logf("%-75s %-8s holds %6.1f MiB more", command, processes[i].Name, grown)
			assert.Less(t, grown, mostHeld, "%s in %s, MiB", command, processes[i].Name)
		}
	}
}
