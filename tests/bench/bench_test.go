// Package bench measures Yubin against peers, against itself and against physical limits. Absolute times depend on the machine, so each figure is a ratio of two
// things measured in turns in the same run, or a count of work for each mail. `make bench` runs TestCompare at full size, against Postfix and Dovecot, and then
// the benchmarks; `make test` runs everything once, on little mail, to see that it measures.
//
// With YUBIN_BENCH_PROFILE=<folder> benchmarks leave there CPU profiles of the server's first two seconds under load, for `go tool pprof -top`.
// They must run for longer than that: -benchtime 5s.
package bench

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// comparisons are all benchmarks, by name.
var comparisons = []struct {
	name string
	run  func(*run)
}{
	{"recipients", recipients},
	{"append", appendToDeliver},
	{"select", selectMailbox},
	{"order", sortAndThread},
	{"noop", noop},
	{"idle", idle},
	{"download", download},
	{"pipeline", pipeline},
	{"login", login},
	{"overhead", overhead},
}

// run is one run of a comparison, as a benchmark or as a test.
type run struct {
	testing.TB
	more   func() bool // tells whether to measure another round
	report func(value float64, unit string)
	small  bool
}

func BenchmarkMail(b *testing.B) {
	for _, c := range comparisons {
		b.Run(c.name, func(b *testing.B) {
			c.run(&run{TB: b, more: b.Loop, report: b.ReportMetric})
			b.ReportMetric(0, "ns/op") // the time of a round says nothing
		})
	}
}

func TestEveryBenchmarkMeasures(t *testing.T) {
	for _, c := range comparisons {
		t.Run(c.name, func(t *testing.T) {
			rounds, reported := 0, 0
			c.run(&run{
				TB: t, small: true,
				more: func() bool { rounds++; return rounds == 1 },
				report: func(value float64, unit string) {
					reported++
					require.False(t, math.IsNaN(value) || math.IsInf(value, 0), "%s is %v", unit, value)
				},
			})
			require.Equal(t, 2, rounds, "the loop is asked until it ends")
			require.Positive(t, reported)
		})
	}
}

// size gives a number of mails, connections and the like: all of it in a benchmark, little in a test.
func (r *run) size(full int) int {
	if r.small {
		return min(full, max(2, full/100))
	}
	return full
}

// system starts the all-in-one with the account alice, and with accounts u0, u1, … that only receive.
func (r *run) system(receivers int, args ...string) *harness.System {
	r.Helper()
	s := harness.Start(r, harness.Options{Accounts: []string{"alice"}, Args: append([]string{
		"--imap-insecure-auth", "--pop3-insecure-auth", "--imap-max-sessions-per-account", "1000", "--admin-pprof",
	}, args...)})
	if receivers > 0 {
		var file strings.Builder
		file.WriteString("accounts:\n")
		for i := range receivers {
			fmt.Fprintf(&file, "- address: %s\n", receiver(i))
		}
		apply(r, s, file.String())
	}
	return s
}

// apply makes what a file for `yubin apply` describes.
func apply(tb testing.TB, s *harness.System, text string) {
	tb.Helper()
	name := filepath.Join(s.Dir, "accounts.yaml")
	require.NoError(tb, os.WriteFile(name, []byte(text), 0o600))
	s.CLI(tb, "apply", "--file", name)
}

func receiver(i int) string { return harness.Address(fmt.Sprintf("u%d", i)) }

// profile begins to record what the server spends its time on, if that is wanted.
func (r *run) profile(s *harness.System) {
	dir := os.Getenv("YUBIN_BENCH_PROFILE")
	if dir == "" {
		return
	}
	done := make(chan error, 1)
	r.Cleanup(func() { require.NoError(r, <-done) })
	go func() { done <- saveProfile(r, s.Processes[0].Admin, dir) }()
}

func saveProfile(r *run, admin, dir string) error {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://"+admin+"/debug/pprof/profile?seconds=2", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	f, err := os.Create(filepath.Join(dir, filepath.Base(r.Name())+".pprof"))
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, res.Body); err != nil {
		return err
	}
	return f.Close()
}
