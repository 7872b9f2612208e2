package crash

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
	"github.com/yubin-mail/yubin/tests/ledger"
)

// quitUnderKill kills a process while a POP3 session commits its deletions: after +OK all are gone, without it all or none.
func quitUnderKill(t *testing.T, shape harness.Shape, victim string) {
	t.Helper()
	const messages, rounds = 30, 4
	s := harness.Start(t, harness.Options{Shape: shape, Accounts: []string{"alice"}, Args: settings})
	rng := rand.New(rand.NewPCG(seed(t), 3)) // repeatable on purpose
	count, answered := 0, 0
	for range rounds {
		for ; count < messages; count++ {
			s.Deliver(t, "alice", harness.Compose("Download me", "x"))
		}
		conn, err := net.Dial("tcp", s.POP3S)
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(settleTime)))
		p := ledger.NewPOP3(tls.Client(conn, s.TLS(t)))
		p.Do("USER " + harness.Address("alice"))
		p.Do("PASS " + harness.Password)
		for i := range messages {
			p.Do(fmt.Sprintf("DELE %d", i+1))
		}
		require.NoError(t, p.Err)
		answer := make(chan bool)
		go func() {
			line := p.Do("QUIT")
			answer <- p.Err == nil && strings.HasPrefix(line, "+OK")
		}()
		time.Sleep(time.Duration(rng.IntN(5_000)) * time.Microsecond) // the moment is the test's input
		s.Process(t, victim).Kill()
		ok := <-answer
		_ = conn.Close()
		s.Process(t, victim).Start(t)
		require.Eventually(t, func() bool { // a maildrop's lease may outlive its gateway for a while
			again, err := s.DialPOP3(t, "alice")
			if err != nil {
				return false
			}
			count = again.Count()
			again.Do("QUIT")
			return true
		}, 2*settleTime, tick)
		if ok {
			answered++
			require.Zero(t, count, "+OK means that they are gone")
		} else {
			require.Contains(t, []int{0, messages}, count, "all or nothing")
		}
	}
	t.Logf("%d of %d QUITs were answered", answered, rounds)
	s.NoDrift(t)
}

func TestPOP3DeletesAllOrNothingWhenKilled(t *testing.T) {
	quitUnderKill(t, harness.AllInOne, "yubin")
}

func TestPOP3DeletesAllOrNothingWhenStorageIsKilled(t *testing.T) {
	quitUnderKill(t, harness.Split, "storage")
}
