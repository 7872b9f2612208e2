package bench

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/bench/load"
	"github.com/yubin-mail/yubin/tests/harness"
)

// system is one of those compared.
type system struct {
	name   string
	target *load.Target
	imaps  string // address of IMAP over TLS; empty: there is none
	tls    *tls.Config
	// processes are all that serve, databases and object stores too; sessions are those that a mail program's session takes memory from.
	processes, sessions func() []int
	counters            func(testing.TB) counters
	// collect has the processes collect their garbage, if they have any.
	collect func(testing.TB)
	// stored is what all mail takes on disk, in octets, without logs that are used again.
	stored func(testing.TB) int64
	// rest makes the system write back what it holds and give its memory back, before stored or the memory is read; nil: it holds nothing.
	rest func(testing.TB)
}

// reader is the account whose mailbox is read.
const reader = "reader"

// quick are settings under which logins and the limits on sessions do not count.
var quick = []string{
	"--imap-insecure-auth=true", "--pop3-insecure-auth=true", "--imap-max-sessions-per-account", "100000", "--admin-pprof=true",
	"--directory-argon2-memory", "1MiB", // what argon2 leaves to the garbage collector would hide the sessions' memory
}

// embedded starts Yubin in one process on its embedded stores.
func embedded(tb testing.TB, accounts []string) *system {
	tb.Helper()
	h := harness.Start(tb, harness.Options{Accounts: []string{reader}, Args: quick})
	data := filepath.Join(h.Dir, "data")
	s := yubin(tb, "Yubin embedded", h, accounts)
	s.processes = s.sessions
	s.stored = func(tb testing.TB) int64 { return diskUsage(tb, data) }
	return s
}

// production starts Yubin as separate services, one process each, on PostgreSQL and MinIO with their own defaults for durability.
func production(tb testing.TB, accounts []string) *system {
	tb.Helper()
	h := harness.Start(tb, harness.Options{
		Shape: harness.Production, Accounts: []string{reader}, Args: quick, ProductionOptions: harness.ProductionOptions{Replicas: 1},
	})
	s := yubin(tb, "Yubin, PostgreSQL, MinIO", h, accounts)
	s.processes = func() []int { return append(s.sessions(), h.Stores.Postgres.PID(), h.Stores.MinIO.PID()) }
	s.stored = func(tb testing.TB) int64 {
		return diskUsage(tb, filepath.Join(h.Stores.Postgres.DataDir(), "base")) + diskUsage(tb, h.Stores.MinIO.DataDir())
	}
	return s
}

func yubin(tb testing.TB, name string, h *harness.System, accounts []string) *system {
	tb.Helper()
	t := &load.Target{
		SMTP: h.SMTP, LMTP: h.LMTP, IMAP: h.IMAP[0], POP3: h.POP3, TLS: load.Plain,
		Reader: load.Login{Name: harness.Address(reader), Password: harness.Password},
	}
	var file strings.Builder
	file.WriteString("accounts:\n")
	for _, name := range accounts {
		fmt.Fprintf(&file, "- address: %s\n  password: %s\n", harness.Address(name), harness.Password)
		t.Recipients = append(t.Recipients, harness.Address(name))
		t.Idlers = append(t.Idlers, load.Login{Name: harness.Address(name), Password: harness.Password})
	}
	apply(tb, h, file.String())
	return &system{
		name: name, target: t, imaps: h.IMAPS[0], tls: h.TLS(tb),
		rest: func(tb testing.TB) {
			h.Stop(tb)
			h.Restart(tb)
		},
		collect: func(tb testing.TB) {
			for _, p := range h.Processes {
				p.Collect(tb)
			}
		},
		sessions: func() []int {
			var pids []int
			for _, p := range h.Processes {
				pids = append(pids, p.PID())
			}
			return pids
		},
		counters: func(tb testing.TB) counters {
			var all strings.Builder
			for _, p := range h.Processes {
				all.WriteString(p.Metrics(tb))
			}
			return counters(all.String())
		},
	}
}

// fill brings the reader's mailbox to its size: mostly small messages.
func (s *system) fill(tb testing.TB, small, large int) {
	tb.Helper()
	to := harness.Address(reader)
	require.NoError(tb, s.target.Fill(tb.Context(), load.LMTP, to, small, 4<<10))
	require.NoError(tb, s.target.Fill(tb.Context(), load.LMTP, to, large, 100<<10))
}
