// Package chaos runs the production shape under load while its processes and its stores are killed and its network breaks: what was
// acknowledged stays true.
package chaos

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/tests/harness"
	"github.com/yubin-mail/yubin/tests/ledger"
	"github.com/yubin-mail/yubin/tests/netfault"
)

var (
	seed     = flag.Uint64("chaos.seed", 0, "what goes wrong, and when; 0: something new")
	dir      = flag.String("chaos.dir", "", "where data and logs are left; empty: nowhere")
	duration = flag.Duration("chaos.duration", 2*time.Minute, "how long things go wrong")
)

var (
	imapUsers = []string{"alice", "carol"}
	popUsers  = []string{"bob"}
)

// settings make logins cheap and let everybody give up soon on those who do not answer.
var settings = []string{
	"--directory-argon2-memory", "1MiB", "--directory-argon2-time", "1", "--directory-scram-iterations", "4096",
	"--smtp-call-timeout", "5s", "--pop3-call-timeout", "5s", "--imap-call-timeout", "5s", "--storage-s3-timeout", "5s",
}

func TestNothingAcknowledgedIsLost(t *testing.T) {
	n := *seed
	if n == 0 {
		n = rand.Uint64() >> 1 // no secret
	}
	t.Logf("-chaos.seed=%d -chaos.duration=%v", n, *duration)

	var links []*netfault.Link
	s := harness.Start(t, harness.Options{
		Shape: harness.Production, Accounts: append(imapUsers, popUsers...), Args: settings, Dir: *dir,
		ProductionOptions: harness.ProductionOptions{Link: func(from, to, addr string) string {
			if from == "cli" {
				return addr
			}
			l := netfault.New(t, from, to, addr)
			links = append(links, l)
			return l.Addr()
		}},
	})
	book := ledger.New(n, imapUsers, popUsers)
	load := ledger.Begin(t, book, 10*time.Millisecond, s.Via(0), s.Via(1))
	load.Watch(s)
	m := newMonkey(t, s, links, n)
	m.run(*duration)
	load.End()
	received, deleted, flagged := book.Acknowledged()
	require.True(t, received > 0 && deleted > 0 && flagged > 0, "work was done: %d received, %d deleted, %d flagged", received, deleted, flagged)

	// A rest, from which no call of before is left.
	s.Stop(t)
	s.Restart(t)
	load.CheckWitnesses()
	book.Verify(t, s)
	expireReservations(t, s)
	s.NoDrift(t)
	t.Log(s.CLI(t, "storage", "verify"))
	noPanic(t, s)
}

// expireReservations lets the time pass after which reservations of the dead are free again, and checks that none is left.
func expireReservations(t *testing.T, s *harness.System) {
	t.Helper()
	db, err := sqldb.OpenPostgres(t.Context(), sqldb.PostgresConfig{URL: s.Stores.Databases["quota"]}, sqldb.Options{Service: "test"})
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.Write(t.Context(), "test", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE reservations SET expires_at = 1`)
		return err
	}))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for _, account := range append(imapUsers, popUsers...) {
			u := s.Usage(t, account)
			assert.Zero(c, u.ReservedBytes, "reserved of %s", account)
			assert.Zero(c, u.ReservedMessages)
		}
	}, 2*time.Minute, 200*time.Millisecond)
}

var panics = regexp.MustCompile(`(?m)^(panic: |fatal error: |WARNING: DATA RACE|.*level=ERROR.*panic).*$`)

// noPanic looks through the logs for what a service may never do.
func noPanic(t *testing.T, s *harness.System) {
	t.Helper()
	for _, p := range s.Processes {
		log, err := os.ReadFile(filepath.Join(s.Dir, p.Name+".log"))
		require.NoError(t, err)
		assert.Nil(t, panics.FindAll(log, 3), "%s", p.Name)
	}
}
