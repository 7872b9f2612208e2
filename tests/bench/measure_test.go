package bench

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// times are the seconds that things took, by name, a value for each round.
type times map[string][]float64

// take measures fn, which does a thing n times.
func (t times) take(name string, n int, fn func()) {
	start := time.Now()
	fn()
	t[name] = append(t[name], time.Since(start).Seconds()/float64(n))
}

// ratio compares the medians of two things: how many times as long a takes as b.
func (t times) ratio(a, b string) float64 { return median(t[a]) / median(t[b]) }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// counters are the system's metrics at one time.
type counters string

func read(r *run, s *harness.System) counters { return counters(s.Processes[0].Metrics(r)) }

// sum adds the values of all series whose text has each of the parts; a part may be alternatives with bars between them.
func (c counters) sum(r testing.TB, parts ...string) float64 {
	r.Helper()
	total := 0.0
series:
	for line := range strings.Lines(string(c)) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "} ")
		if !found {
			name, value, _ = strings.Cut(strings.TrimSpace(line), " ")
		}
		for _, part := range parts {
			if !slices.ContainsFunc(strings.Split(part, "|"), func(one string) bool { return strings.Contains(name, one) }) {
				continue series
			}
		}
		if strings.HasPrefix(name, "#") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		require.NoError(r, err, "metric %s", line)
		total += v
	}
	return total
}

// The work that is counted.
var (
	objectPuts      = []string{"yubin_storage_object_operations_total", `op="put"`}
	objectGets      = []string{"yubin_storage_object_operations_total", `op="get"|op="range"`}
	objectBytesRead = []string{"yubin_storage_object_bytes_total", `op="get"|op="range"`}
	transactions    = []string{"_sql_transaction_seconds_count"}
	roundTrips      = []string{"_sql_round_trips_total"}
)

// since is how much was done since an earlier reading.
func (c counters) since(r testing.TB, before counters, parts []string) float64 {
	r.Helper()
	return c.sum(r, parts...) - before.sum(r, parts...)
}

// diskUsage is the octets of the files below a folder.
func diskUsage(tb testing.TB, dir string) (octets int64) {
	tb.Helper()
	require.NoError(tb, filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if errors.Is(err, os.ErrNotExist) { // it went while we looked
			return nil
		}
		if err == nil && info.Mode().IsRegular() {
			octets += info.Size()
		}
		return err
	}))
	return octets
}

// loopback is the limit of every transfer: a TCP connection on which one side sends and the other throws away.
type loopback struct {
	r        *run
	here     net.Conn
	there    net.Conn
	received []byte
}

func newLoopback(r *run) *loopback {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(r, err)
	defer l.Close()
	here, err := net.Dial("tcp", l.Addr().String())
	require.NoError(r, err)
	there, err := l.Accept()
	require.NoError(r, err)
	r.Cleanup(func() { _ = errors.Join(here.Close(), there.Close()) })
	return &loopback{r: r, here: here, there: there, received: make([]byte, bufferSize)}
}

// copy sends octets and returns when all have arrived.
func (l *loopback) copy(content []byte) {
	sent := make(chan error, 1)
	go func() {
		_, err := l.there.Write(content)
		sent <- err
	}()
	for left := len(content); left > 0; {
		n, err := l.here.Read(l.received)
		require.NoError(l.r, err)
		left -= n
	}
	require.NoError(l.r, <-sent)
}

// echo sends a line there and back between two goroutines.
func (l *loopback) echo(line []byte) {
	returned := make(chan error, 1)
	go func() {
		got := make([]byte, len(line))
		if _, err := io.ReadFull(l.there, got); err != nil {
			returned <- err
			return
		}
		_, err := l.there.Write(got)
		returned <- err
	}()
	_, err := l.here.Write(line)
	require.NoError(l.r, err)
	_, err = io.ReadFull(l.here, l.received[:len(line)])
	require.NoError(l.r, err)
	require.NoError(l.r, <-returned)
}
