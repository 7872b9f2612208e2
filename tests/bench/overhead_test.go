package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/pprof/profile"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/bench/load"
	"github.com/yubin-mail/yubin/tests/harness"
)

// observability are the packages whose work is for those who watch; a sample of the profile counts for them if one of their functions is on its stack.
var observability = map[string][]string{
	"metrics": {"github.com/prometheus/client_golang/prometheus.", "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus.", "pkg/telemetry.Observe", "pkg/telemetry.(*Memo"},
	"traces":  {"go.opentelemetry.io/", "pkg/telemetry.StartSpan", "pkg/telemetry.Span.", "pkg/telemetry.(*Tracer)", "pkg/telemetry.Parent"},
	"logs":    {"log/slog."},
}

// overhead measures the share of a server's time on the processor that metrics, traces (which are off) and logs take of deliveries. A profile tells it
// more exactly than two runs with and without them, which differ by more than that.
func overhead(r *run) {
	s := r.system(50)
	t := &load.Target{SMTP: s.SMTP, TLS: load.Plain}
	for i := range 50 {
		t.Recipients = append(t.Recipients, receiver(i))
	}
	const connections = 8
	shares := map[string][]float64{}
	for r.more() {
		ctx, stop := context.WithCancel(r.Context())
		loaded := make(chan error, 1)
		go func() {
			_, err := load.Deliver(load.SMTP, connections, 4<<10).Run(ctx, t, load.Limit{})
			loaded <- err
		}()
		samples := processorProfile(r, s, r.size(200)/50+1)
		stop()
		require.ErrorIs(r, <-loaded, context.Canceled)
		for kind, functions := range observability {
			shares[kind] = append(shares[kind], 100*share(samples, functions))
		}
	}
	for kind, percents := range shares {
		r.report(median(percents), "%cpu-of-"+kind)
	}
}

// processorProfile records what the server spends its time on.
func processorProfile(r *run, s *harness.System, seconds int) *profile.Profile {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.Processes[0].Admin, seconds), nil)
	require.NoError(r, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(r, err)
	defer res.Body.Close()
	require.Equal(r, http.StatusOK, res.StatusCode)
	octets, err := io.ReadAll(res.Body)
	require.NoError(r, err)
	if dir := os.Getenv("YUBIN_BENCH_PROFILE"); dir != "" {
		require.NoError(r, os.WriteFile(filepath.Join(dir, "overhead.pprof"), octets, 0o600))
	}
	p, err := profile.ParseData(octets)
	require.NoError(r, err)
	require.NotEmpty(r, p.Sample)
	return p
}

// share is the part of a profile's time that is spent in functions whose names contain one of the parts, or below them.
func share(p *profile.Profile, parts []string) float64 {
	in := func(sample *profile.Sample) bool {
		for _, location := range sample.Location {
			for _, line := range location.Line {
				for _, part := range parts {
					if strings.Contains(line.Function.Name, part) {
						return true
					}
				}
			}
		}
		return false
	}
	var total, found int64
	for _, sample := range p.Sample {
		spent := sample.Value[len(sample.Value)-1]
		if total += spent; in(sample) {
			found += spent
		}
	}
	return float64(found) / float64(total)
}
