// Package crash kills Yubin's processes under load, fills its disk and takes its services away: what was acknowledged stays true.
package crash

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
	"github.com/yubin-mail/yubin/tests/ledger"
)

const (
	// settleTime is longer than the ledger takes to learn of what storage has.
	settleTime = 30 * time.Second
	tick       = 100 * time.Millisecond
)

// accounts that the load is on: alice reads over IMAP, bob over POP3.
const (
	imapUser = "alice"
	popUser  = "bob"
)

// settings spare the tests what logins cost.
var settings = []string{
	"--directory-argon2-memory", "1MiB", "--directory-argon2-time", "1", "--directory-scram-iterations", "4096",
}

// seed is of this run, or from YUBIN_TEST_SEED to run the same again.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64() // no secret
	if text := os.Getenv("YUBIN_TEST_SEED"); text != "" {
		var err error
		n, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("YUBIN_TEST_SEED=%d", n)
	return n
}

// killUnderLoad kills processes, one a round, at random moments under load, and checks after each restart that all answers were true.
func killUnderLoad(t *testing.T, s *harness.System, victims []string) {
	t.Helper()
	n := seed(t)
	l, rng := ledger.New(n, []string{imapUser}, []string{popUser}), rand.New(rand.NewPCG(n, 2)) // repeatable on purpose
	for _, name := range victims {
		victim := s.Process(t, name)
		w := ledger.Begin(t, l, 0, s)
		time.Sleep(500*time.Millisecond + time.Duration(rng.IntN(1000))*time.Millisecond) // the moment is the test's input
		victim.Kill()
		time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		victim.Start(t)
		time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond) // clients come back by themselves
		w.End()
		t.Logf("killed %s", name)
		l.Verify(t, s)
	}
}

func TestKilledAllInOneKeepsItsPromises(t *testing.T) {
	s := harness.Start(t, harness.Options{Accounts: []string{imapUser, popUser}, Args: settings})
	killUnderLoad(t, s, []string{"yubin", "yubin", "yubin", "yubin"})
}

func TestKilledServicesKeepTheirPromises(t *testing.T) {
	s := harness.Start(t, harness.Options{Shape: harness.Split, Accounts: []string{imapUser, popUser}, Args: settings})
	killUnderLoad(t, s, []string{"storage", "quota", "directory", "smtp", "imap-0", "pop3", "storage"})
}
