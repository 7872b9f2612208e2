package bench

import (
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/bench/load"
	"github.com/yubin-mail/yubin/tests/bench/proc"
)

var (
	full      = flag.Bool("full", false, "compare at full size; without it the tests only see that everything works")
	rounds    = flag.Int("rounds", 3, "how often each workload runs on each system, in turns")
	turn      = flag.Duration("turn", 3*time.Second, "how long a workload runs each time")
	workloads = flag.String("workloads", "", "regular expression of the workloads to compare; empty is all; cost is the work for each message, memory that of an idle session")
	systems   = flag.String("systems", "", "regular expression of the systems to compare; empty is all")
	soak      = flag.Duration("duration", 0, "instead of a comparison, load Yubin for this long and watch its memory")
)

// start makes the systems, of which the last is the peer.
func start(tb testing.TB) []*system {
	tb.Helper()
	accounts := make([]string, 100)
	for i := range accounts {
		accounts[i] = fmt.Sprintf("u%d", i)
	}
	chosen := regexp.MustCompile(*systems)
	var all []*system
	for _, kind := range []struct {
		name  string
		start func() *system
	}{
		{"embedded", func() *system { return embedded(tb, accounts) }},
		{"production", func() *system { return production(tb, accounts) }},
		{"peer", func() *system { return startPeer(tb).system(accounts) }},
	} {
		if chosen.MatchString(kind.name) {
			all = append(all, kind.start())
		}
	}
	require.NotEmpty(tb, all, "systems match %s", *systems)
	return all
}

// TestCompare prints the tables of `make bench`, if it is asked to. Without -full it runs through them in small.
func TestCompare(t *testing.T) {
	if *soak > 0 {
		watchMemory(t, os.Stdout)
		return
	}
	if *full {
		compare(t, os.Stdout, start(t), sizes{small: 2000, large: 40, list: 1000, limit: load.Limit{For: *turn}, rounds: *rounds, counted: 2560, idle: 1000})
		return
	}
	var printed strings.Builder
	compare(t, &printed, []*system{embedded(t, []string{"u0", "u1"})},
		sizes{small: 10, large: 1, list: 5, limit: load.Limit{Turns: 1}, rounds: 1, counted: 2, idle: 4})
	for _, words := range []string{"imap full download", "fsyncs", "memory of an idle session"} {
		require.Contains(t, printed.String(), words)
	}
	require.NotContains(t, printed.String(), "NaN")
}

type sizes struct {
	small, large int // messages in the reader's mailbox
	list         int
	limit        load.Limit
	rounds       int
	counted      int // messages of a pass that counts the work
	idle         int // sessions
}

func compare(t *testing.T, w io.Writer, all []*system, n sizes) {
	for _, s := range all {
		s.fill(t, n.small, n.large)
	}
	chosen := regexp.MustCompile(*workloads)
	fmt.Fprintf(w, "\nThe reader's mailbox has %d messages of 4 KB and %d of 100 KB. Each cell: the median rate of %d rounds; ratios are to the last system\nin the same round, with the least and the greatest.\n\n",
		n.small, n.large, n.rounds)
	printRow(w, "workload", "", all, func(s *system) string { return s.name })
	for _, load := range load.Workloads(n.list) {
		if !chosen.MatchString(load.Name) {
			continue
		}
		compareOne(t, w, load, all, n)
	}
	if chosen.MatchString("cost") {
		countWork(t, w, all, n)
	}
	if chosen.MatchString("memory") {
		for _, mode := range []load.TLSMode{load.Plain, load.Implicit} {
			memory := map[*system]float64{}
			for _, s := range all {
				memory[s] = idleMemory(t, s, mode, n.idle)
			}
			printRow(w, "memory of an idle session", "KB, TLS "+string(mode), all, func(s *system) string { return figure(memory[s]/1000, "%.1f") })
		}
	}
}

// compareOne runs one workload on the systems in turns and prints its rows.
func compareOne(t *testing.T, w io.Writer, workload load.Workload, all []*system, n sizes) {
	delivered, accepted, seconds := map[*system][]float64{}, map[*system][]float64{}, map[*system][]float64{}
	for range n.rounds {
		for _, s := range all {
			before := cpu(t, s)
			result, err := workload.Run(t.Context(), s.target, n.limit)
			require.NoError(t, err, "%s on %s", workload.Name, s.name)
			require.Positive(t, result.Count, "%s on %s", workload.Name, s.name)
			delivered[s] = append(delivered[s], result.Rate())
			accepted[s] = append(accepted[s], result.AcceptedRate())
			seconds[s] = append(seconds[s], 1000*(cpu(t, s)-before).Seconds()/float64(result.Count))
		}
	}
	last := all[len(all)-1]
	printRow(w, workload.Name, workload.Unit+"/s", all, func(s *system) string {
		cell := fmt.Sprintf("%.0f", median(delivered[s]))
		if last.target.Settle != nil && workload.Unit == "messages" && strings.HasPrefix(workload.Name, load.SMTP) && s == last {
			cell += fmt.Sprintf(" (accepted %.0f)", median(accepted[s]))
		}
		if s != last {
			cell += "  " + ratios(delivered[s], delivered[last])
		}
		return cell
	})
	printRow(w, "", "CPU s/1000", all, func(s *system) string { return fmt.Sprintf("%.2f", median(seconds[s])) })
}

func cpu(t *testing.T, s *system) time.Duration {
	t.Helper()
	used, err := proc.CPU(s.processes()...)
	require.NoError(t, err)
	return used
}

// ratios are a's to b's round by round: the median, and the least and the greatest.
func ratios(a, b []float64) string {
	var all []float64
	for i := range a {
		all = append(all, a[i]/b[i])
	}
	return fmt.Sprintf("× %.2f [%.2f…%.2f]", median(all), slices.Min(all), slices.Max(all))
}

func printRow(w io.Writer, name, unit string, all []*system, cell func(*system) string) {
	fmt.Fprintf(w, "%-22s %-12s", name, unit)
	for _, s := range all {
		fmt.Fprintf(w, " | %-32s", cell(s))
	}
	fmt.Fprintln(w)
}

// countWork prints what a message costs.
func countWork(t *testing.T, w io.Writer, all []*system, n sizes) {
	fmt.Fprint(w, "\nWork for each message of 4 KB; bytes are those on disk for each received:\n\n")
	printRow(w, "", "", all, func(s *system) string { return s.name })
	for _, load := range []struct {
		protocol    string
		connections int
	}{{load.LMTP, 1}, {load.LMTP, 32}, {load.LMTP, 128}, {load.SMTP, 32}} {
		costs := map[*system]cost{}
		for _, s := range all {
			costs[s] = costOf(t, s, load.protocol, load.connections, max(1, n.counted/load.connections))
		}
		name := fmt.Sprintf("%s 4 KB × %d", load.protocol, load.connections)
		printRow(w, name, "fsyncs", all, func(s *system) string { return fmt.Sprintf("%.3f", costs[s].syncs) })
		printRow(w, "", "SQL trips", all, func(s *system) string { return figure(costs[s].roundTrips, "%.2f") })
		printRow(w, "", "PUTs/1000", all, func(s *system) string { return figure(1000*costs[s].puts, "%.1f") })
		printRow(w, "", "bytes/byte", all, func(s *system) string { return fmt.Sprintf("%.2f", costs[s].stored) })
	}
}

func figure(value float64, format string) string {
	if math.IsNaN(value) {
		return "–"
	}
	return fmt.Sprintf(format, value)
}

// cost is the work for one message; NaN is work that the system does not count.
type cost struct{ syncs, roundTrips, puts, stored float64 }

// costOf delivers count messages over each connection, three times: for the accounts' mailboxes, for the counters and the disk, and for strace,
// under which groups may be others.
func costOf(t *testing.T, s *system, protocol string, connections, count int) cost {
	t.Helper()
	workload, limit := load.Deliver(protocol, connections, 4<<10), load.Limit{Turns: count}
	run := func() load.Result {
		result, err := workload.Run(t.Context(), s.target, limit)
		require.NoError(t, err, "%s on %s", workload.Name, s.name)
		return result
	}
	rest := func() int64 {
		if s.rest != nil {
			s.rest(t)
		}
		return s.stored(t)
	}
	run() // makes the accounts' mailboxes, if this is the first
	stored := rest()
	before := s.counters(t)
	result := run()
	after := s.counters(t)
	each := float64(result.Count)
	c := cost{roundTrips: math.NaN(), puts: math.NaN()}
	if after != "" {
		c.roundTrips = after.since(t, before, roundTrips) / each
		c.puts = after.since(t, before, objectPuts) / each
	}
	c.stored = float64(rest()-stored) / float64(result.Bytes)
	n, err := proc.Syncs(t.Context(), func() error { result = run(); return nil }, s.processes()...)
	require.NoError(t, err)
	c.syncs = float64(n) / float64(result.Count)
	return c
}

// idleMemory opens sessions in IDLE and gives the octets that each takes, NaN if the system does not speak TLS.
func idleMemory(t *testing.T, s *system, mode load.TLSMode, sessions int) float64 {
	t.Helper()
	target := *s.target
	if target.TLS = mode; mode == load.Implicit {
		if s.imaps == "" {
			return math.NaN()
		}
		target.IMAP, target.TLSConfig = s.imaps, s.tls
	}
	if s.rest != nil {
		s.rest(t) // so that memory that other workloads left does not serve these
	}
	first, err := target.Idle(t.Context(), len(target.Idlers)) // each account's first pays for what its sessions share
	require.NoError(t, err)
	defer first()
	before := memory(t, s)
	end, err := target.Idle(t.Context(), sessions)
	require.NoError(t, err)
	defer end()
	return float64(memory(t, s)-before) / float64(sessions)
}

// memory is what a system's processes take when their garbage is collected and the kernel has it back: what the logins have left would
// hide what the sessions need.
func memory(t *testing.T, s *system) int64 {
	t.Helper()
	least := int64(math.MaxInt64)
	for fruitless := 0; fruitless < 3; {
		if s.collect != nil {
			s.collect(t)
		}
		now, err := proc.Memory(s.sessions()...)
		require.NoError(t, err)
		if fruitless++; now < least-least/200 {
			fruitless = 0
		}
		if least = min(least, now); !*full || s.collect == nil {
			break
		}
		time.Sleep(time.Second) // the runtime gives memory back at its leisure
	}
	return least
}
