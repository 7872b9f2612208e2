package bench

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/bench/load"
	"github.com/yubin-mail/yubin/tests/bench/proc"
	"github.com/yubin-mail/yubin/tests/harness"
)

var (
	crowd      = flag.Int("crowd", 0, "instead of a comparison, open this many idle sessions on one gateway, and see what memory they take and how soon they hear of mail")
	crowdPlain = flag.Bool("crowd-plain", false, "the sessions of -crowd come without TLS, as from a load balancer that ends it")
)

// Limits that a crowd is held against: of all services together, and from the answer to a delivery until its reader knows.
const (
	crowdMemory = 400e6
	crowdNews   = 100 * time.Millisecond
)

// TestCrowd opens -crowd sessions that wait in IDLE on one gateway over TLS, unless -crowd-plain is given, ten to an account; few without the flag. Both sides
// need a file descriptor for each session (ulimit -n).
func TestCrowd(t *testing.T) {
	sessions, w, shape := *crowd, io.Writer(os.Stdout), harness.Production
	if *full = *full || sessions > 0; sessions == 0 {
		sessions, w = 20, io.Discard
	}
	if sessions < 1000 || *systems == "embedded" {
		shape = harness.AllInOne
	}
	accounts := make([]string, max(2, sessions/10))
	for i := range accounts {
		accounts[i] = fmt.Sprintf("u%d", i)
	}
	h := harness.Start(t, harness.Options{
		Shape: shape, Accounts: []string{reader}, ProductionOptions: harness.ProductionOptions{Replicas: 1},
		Args: append(quick, "--imap-max-connections-per-network", "100000"),
	})
	s := yubin(t, string(shape), h, accounts)
	target := *s.target
	if !*crowdPlain {
		target.TLS, target.IMAP, target.TLSConfig = load.Implicit, s.imaps, s.tls
	}
	target.Idlers = target.Idlers[:1]
	before := showMemory(t, w, h, s, "without sessions")
	const openers = 8
	var opening sync.WaitGroup
	begun := time.Now()
	for i := range openers {
		opening.Go(func() {
			mine := target
			mine.Idlers = s.target.Idlers[i*len(accounts)/openers : (i+1)*len(accounts)/openers]
			n := (i+1)*sessions/openers - i*sessions/openers
			end, err := mine.Idle(t.Context(), n)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(end)
		})
	}
	opening.Wait()
	require.False(t, t.Failed())
	fmt.Fprintf(w, "%d sessions of %d accounts, opened in %v\n", sessions, len(accounts), time.Since(begun).Round(time.Second))
	after := showMemory(t, w, h, s, "with all idle")
	fmt.Fprintf(w, "a session: %.1f KB; all services: %.0f MB, %.2f of %.0f MB\n",
		float64(after-before)/float64(sessions)/1e3, float64(after)/1e6, float64(after)/crowdMemory, crowdMemory/1e6)
	showNews(t, w, h, accounts)
}

// showMemory prints what each service takes, as it stands and with its garbage collected, and gives the sum of the latter.
func showMemory(t *testing.T, w io.Writer, h *harness.System, s *system, when string) (octets int64) {
	t.Helper()
	standing := map[string]int64{}
	for _, p := range h.Processes {
		n, err := proc.Memory(p.PID())
		require.NoError(t, err)
		standing[p.Name] = n
	}
	sum := memory(t, s)
	fmt.Fprintf(w, "\n%-20s %12s %12s\n", when, "as it stands", "collected")
	total := int64(0)
	for _, p := range h.Processes {
		n, err := proc.Memory(p.PID())
		require.NoError(t, err)
		total += standing[p.Name]
		fmt.Fprintf(w, "%-20s %9.1f MB %9.1f MB\n", p.Name, float64(standing[p.Name])/1e6, float64(n)/1e6)
	}
	fmt.Fprintf(w, "%-20s %9.1f MB %9.1f MB\n", "all", float64(total)/1e6, float64(sum)/1e6)
	return sum
}

// showNews delivers mail to accounts of the crowd, one after the other, and prints how long after the answer to the delivery a device of each hears of it.
func showNews(t *testing.T, w io.Writer, h *harness.System, accounts []string) {
	t.Helper()
	rounds := min(300, 2*len(accounts))
	r := &run{TB: t}
	sender, message := dialSMTP(r, h.SMTP), mail(4<<10)
	var late, whole []float64
	for range rounds {
		account := accounts[rand.IntN(len(accounts))]
		conn, err := tls.Dial("tcp", h.IMAPS[len(h.IMAPS)-1], h.TLS(t))
		require.NoError(t, err)
		device := &stream{r: r, conn: conn, br: bufio.NewReaderSize(conn, 4<<10)}
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		device.line()
		device.do(fmt.Sprintf("LOGIN %s %q", harness.Address(account), harness.Password))
		device.do("SELECT INBOX")
		device.send("i IDLE\r\n")
		device.until("idling")
		told := make(chan time.Time, 1)
		go func() {
			defer close(told)
			for line, err := device.br.ReadString('\n'); err == nil; line, err = device.br.ReadString('\n') {
				if strings.HasSuffix(line, " EXISTS\r\n") {
					told <- time.Now()
					return
				}
			}
		}()
		begun := time.Now()
		require.NoError(t, send(sender, message, harness.Address(account)))
		answered := time.Now()
		at, ok := <-told
		require.True(t, ok, "the device hears of the mail")
		late = append(late, max(0, at.Sub(answered).Seconds()*1e3))
		whole = append(whole, at.Sub(begun).Seconds()*1e3)
		require.NoError(t, conn.Close())
	}
	slices.Sort(late)
	slices.Sort(whole)
	at := func(sorted []float64, q float64) float64 { return sorted[int(q*float64(len(sorted)-1))] }
	fmt.Fprintf(w, "a device hears of a mail %.1f ms (median), %.1f ms (p99) after its sender has the answer, %.2f of %v; %.1f ms, %.1f ms after the delivery began\n",
		at(late, 0.5), at(late, 0.99), at(late, 0.99)/float64(crowdNews.Milliseconds()), crowdNews, at(whole, 0.5), at(whole, 0.99))
}
