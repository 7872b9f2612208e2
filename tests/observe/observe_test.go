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
const patience = 3 * time.Minute

// quiet are queries that have an answer only when something happens that must not: part of the expression, and why this test does not make it happen.
var quiet = map[string]string{
	"ALERTS{": "no alert has to fire",
}

// faulty are parts of the queries that have an answer only when something is broken: the object store, which this test kills.
var faulty = []string{"grpc_code=~"}

func TestEveryQueryHasAnAnswer(t *testing.T) {
	w := start(t)
	var healthy, broken []query
	for _, q := range append(panelQueries(t), ruleQueries(t)...) {
		switch {
		case slices.ContainsFunc(slices.Collect(maps.Keys(quiet)), q.has):
			_, err := w.prometheus.Query(t.Context(), q.Expr)
			require.NoError(t, err, "%s\n%s", q.Where, q.Expr)
		case slices.ContainsFunc(faulty, q.has):
			broken = append(broken, q)
		default:
			healthy = append(healthy, q)
		}
	}
	t.Logf("%d queries, and %d of what is broken", len(healthy), len(broken))
	w.answers(t, healthy)
	w.production.Stores.MinIO.Kill(t)
	w.answers(t, broken)
	w.production.Stores.MinIO.Restart(t)
	w.answers(t, []query{{"Mail flows again", `sum(rate(yubin_smtp_recipients_total{job="yubin-smtp", outcome="stored"}[10s])) > 0`}})
	if *pictures != "" && !t.Failed() {
		w.draw(t)
	}
	require.NoError(t, w.stop())
}

// answers waits until each query has had an answer.
func (w *world) answers(t *testing.T, open []query) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		open = slices.DeleteFunc(open, func(q query) bool {
			series, err := w.prometheus.Query(t.Context(), q.Expr)
			require.NoError(t, err, "%s\n%s", q.Where, q.Expr)
			return slices.ContainsFunc(series, func(s prometheus.Series) bool { return !math.IsNaN(s.Samples[0].Value) })
		})
		if len(open) == 0 {
			return
		}
		if time.Now().After(deadline) {
			for _, q := range open {
				t.Errorf("no answer for %s:\n%s", q.Where, q.Expr)
			}
			return
		}
		select { // let Prometheus come again
		case <-t.Context().Done():
		case <-time.After(time.Second):
		}
	}
}

// world is two systems under load, in the two forms of installation, and a Prometheus that scrapes them.
type world struct {
	production *harness.System
	prometheus *prometheus.Server
	begun      time.Time
	// stop ends the load and tells what never worked.
	stop func() error
}

func start(t *testing.T) *world {
	t.Helper()
	// What an installation does each hour or day happens each second or so.
	args := []string{
		"--quota-metrics-interval", "1s", "--quota-reconcile-interval", "2s", "--storage-catalog-interval", "2s", "--storage-feed-safety-poll", "2s",
		"--directory-throttle-failures", "2", "--directory-throttle-network-failures", "1000000", "--directory-throttle-max-delay", "2s",
		"--directory-argon2-memory", "1MiB",
	}
	production := harness.Start(t, harness.Options{
		Shape: harness.Production, Accounts: accounts, Args: append(slices.Clone(args), "--storage-read-cache-dir", filepath.Join(t.TempDir(), "{process}"), "--storage-read-cache", "1MiB"),
	})
	embedded := harness.Start(t, harness.Options{Shape: harness.AllInOne, Accounts: accounts, Args: args})
	p := prometheus.Start(t, configure(t, production, embedded))

	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	waits := []func() error{load(ctx, t, production), load(ctx, t, embedded)}
	return &world{production: production, prometheus: p, begun: time.Now(), stop: func() error {
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
