// Package observe tests what an operator sees: every query of every dashboard, and every rule of Prometheus, has an answer while the system
// works under varied load.
package observe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/pkg/testserver/prometheus"
	"github.com/yubin-mail/yubin/tests/harness"
)

// patience is how long a query may have no answer, on a machine that is busy with other tests.
const patience = 4 * time.Minute

// quiet are queries that have an answer only when something happens that must not, or that this test cannot make happen: part of the
// expression, and why.
var quiet = map[string]string{
	"ALERTS{": "no alert has to fire",
}

func TestEveryQueryHasAnAnswer(t *testing.T) {
	w := start(t)
	open := append(panelQueries(t), ruleQueries(t)...)
	total := len(open)
	open = slices.DeleteFunc(open, func(q query) bool {
		for part := range quiet {
			if strings.Contains(q.Expr, part) {
				_, err := w.prometheus.Query(t.Context(), q.Expr)
				require.NoError(t, err, "%s\n%s", q.Where, q.Expr)
				return true
			}
		}
		return false
	})
	t.Logf("%d queries, of which %d may be without an answer", total, total-len(open))
	for deadline := time.Now().Add(patience); len(open) > 0; {
		var rest []query
		for _, q := range open {
			series, err := w.prometheus.Query(t.Context(), q.Expr)
			require.NoError(t, err, "%s\n%s", q.Where, q.Expr)
			if !slices.ContainsFunc(series, func(s prometheus.Series) bool { return !math.IsNaN(s.Samples[0].Value) }) {
				rest = append(rest, q)
			}
		}
		open = rest
		if len(open) > 0 && time.Now().After(deadline) {
			for _, q := range open {
				t.Errorf("no answer for %s:\n%s", q.Where, q.Expr)
			}
			break
		}
		select { // let Prometheus come again
		case <-t.Context().Done():
		case <-time.After(time.Second):
		}
	}
	require.NoError(t, w.stop())
	if *pictures != "" && !t.Failed() {
		draw(t, w.prometheus)
	}
}

// world is two systems under load, in the two forms of installation, and a Prometheus that scrapes them.
type world struct {
	prometheus *prometheus.Server
	// stop ends the load and tells what never worked.
	stop func() error
}

func start(t *testing.T) world {
	t.Helper()
	// What an installation does each hour or day happens each second or so.
	args := []string{
		"--quota-metrics-interval", "1s", "--quota-reconcile-interval", "2s", "--storage-catalog-interval", "2s", "--storage-feed-safety-poll", "2s",
		"--directory-throttle-failures", "2", "--directory-throttle-network-failures", "1000000", "--directory-throttle-max-delay", "2s",
		"--directory-argon2-memory", "1MiB",
	}
	production := harness.Start(t, harness.Options{
		Shape: harness.Production, Accounts: accounts, Args: append(slices.Clone(args), "--storage-read-cache-dir", t.TempDir()),
	})
	embedded := harness.Start(t, harness.Options{Shape: harness.AllInOne, Accounts: accounts, Args: args})
	p := prometheus.Start(t, configure(t, production, embedded))

	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	waits := []func() error{load(ctx, t, production), load(ctx, t, embedded)}
	return world{prometheus: p, stop: func() error {
		cancel()
		return errors.Join(waits[0](), waits[1]())
	}}
}

// configure writes a configuration of Prometheus as an installation on Kubernetes has it: a job for each service, and its namespace.
func configure(t *testing.T, production, embedded *harness.System) string {
	t.Helper()
	jobs := map[string][]string{"yubin": {embedded.Process(t, "yubin").Admin}}
	for _, p := range production.Processes {
		service, _, _ := strings.Cut(p.Name, "-")
		jobs["yubin-"+service] = append(jobs["yubin-"+service], p.Admin)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 2s}\nrule_files: [%q]\nscrape_configs:\n",
		filepath.Join(harness.Root(t), rulesDir, "*.yaml"))
	for _, job := range slices.Sorted(maps.Keys(jobs)) {
		fmt.Fprintf(&b, "  - {job_name: %s, static_configs: [{targets: [%s], labels: {namespace: mail}}]}\n", job, strings.Join(jobs[job], ", "))
	}
	kube, err := url.Parse(kubernetes(t).URL)
	require.NoError(t, err)
	fmt.Fprintf(&b, "  - {job_name: kube-state-metrics, honor_labels: true, static_configs: [{targets: [%s]}]}\n", kube.Host)
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
	return file
}
