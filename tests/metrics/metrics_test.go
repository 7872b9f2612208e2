package metrics

import (
	"flag"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/yubin-mail/yubin/tests/harness"
)

var update = flag.Bool("update", false, "write docs/metrics.md from what the system tells")

// maxSeries bounds the time series of one process after a varied run. Most are the buckets of histograms.
const maxSeries = 8000

// words are what clients chose in the two runs: nothing of it may be in a metric.
var words = [...]string{"zanzibar", "quetzalcoatl"}

func TestMetrics(t *testing.T) {
	documented := readDocs(t)
	found := table{}
	for _, shape := range []harness.Shape{harness.AllInOne, harness.Production} {
		t.Run(string(shape), func(t *testing.T) {
			var first, second = people{"renate", "fritz"}, people{"yoshiko", "takeshi"}
			s := harness.Start(t, harness.Options{
				Shape: shape, Accounts: []string{first.reader, first.full, second.reader, second.full},
				Args: []string{"--quota-metrics-interval=1s", "--quota-reconcile-interval=1s"},
			})
			first.prepare(t, s)
			second.prepare(t, s)
			var ids []string
			for _, name := range []string{first.reader, first.full, second.reader, second.full} {
				ids = append(ids, s.AccountID(t, name))
			}
			vary(t, s, first, words[0])
			vary(t, s, first, words[0]+"-again")
			before := map[string]bool{} // in any process: replicas share the work by chance
			for _, p := range s.Processes {
				maps.Copy(before, scrape(t, p).series())
			}
			vary(t, s, second, words[1])
			after := map[string]bool{}
			for _, p := range s.Processes {
				f := scrape(t, p)
				lint(t, p.Name, f)
				private(t, p.Name, f, ids)
				native(t, p.Name, f)
				series := f.series()
				t.Logf("%s: %d series of %d metrics", p.Name, len(series), len(f))
				if len(series) > maxSeries {
					t.Errorf("%s has %d series", p.Name, len(series))
				}
				maps.Copy(after, series)
				found.add(t, f)
			}
			bounded(t, before, after)
		})
	}
	if t.Failed() {
		return
	}
	if *update {
		documented.write(t, found)
	}
	documented.compare(t, found)
}

// lint checks names, units and help by the rules of Prometheus. What comes from its own collectors is its matter.
func lint(t *testing.T, process string, f families) {
	t.Helper()
	var ours []*dto.MetricFamily
	for name, family := range f {
		switch {
		case strings.HasPrefix(name, "go_"), strings.HasPrefix(name, "process_"), strings.HasPrefix(name, "promhttp_"):
		case strings.HasPrefix(name, "yubin_"), strings.HasPrefix(name, "grpc_"):
			ours = append(ours, family)
		default:
			t.Errorf("%s: %s has none of our prefixes", process, name)
		}
	}
	problems, err := promlint.NewWithMetricFamilies(ours).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s: %s", process, p.Metric, p.Text)
	}
}

// identifying finds what may name a person, a message or a client: addresses, ids of all kinds.
var identifying = regexp.MustCompile(`@|^[0-9a-fA-F-]{16,}$|\b\d{1,3}(\.\d{1,3}){3}\b`)

// private checks that nobody stands in a label.
func private(t *testing.T, process string, f families, ids []string) {
	t.Helper()
	for name, family := range f {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				value := l.GetValue()
				named := func(s string) bool { return strings.Contains(strings.ToLower(value), strings.ToLower(s)) }
				if l.GetName() == "file" {
					continue // of a certificate: the operator's choice
				}
				if identifying.MatchString(value) || slices.ContainsFunc(ids, named) || slices.ContainsFunc(words[:], named) {
					t.Errorf("%s: %s{%s=%q}", process, name, l.GetName(), value)
				}
			}
		}
	}
}

// native checks that every histogram of ours is native too. That of the accounts is made of sums.
func native(t *testing.T, process string, f families) {
	t.Helper()
	for name, family := range f {
		if family.GetType() != dto.MetricType_HISTOGRAM || !strings.HasPrefix(name, "yubin_") && !strings.HasPrefix(name, "grpc_") || name == "yubin_quota_accounts_fill_ratio" {
			continue
		}
		for _, m := range family.GetMetric() {
			if h := m.GetHistogram(); h.Schema == nil || len(h.GetBucket()) == 0 {
				t.Errorf("%s: %s{%s} is not classic and native: schema %v, %d buckets", process, name, labelText(m), h.Schema, len(h.GetBucket()))
			}
		}
	}
}

// bounded checks that the same things, done by others and with other words, hardly make new series: some results come by chance.
func bounded(t *testing.T, before, after map[string]bool) {
	t.Helper()
	kinds := map[string]bool{}
	for s := range after {
		if !before[s] {
			kinds[regexp.MustCompile(`_(bucket|sum|count)\{`).ReplaceAllString(regexp.MustCompile(`le=.*\}`).ReplaceAllString(s, "}"), "{")] = true
		}
	}
	if len(kinds) > 60 {
		t.Errorf("a second run has made %d new metrics: %s", len(kinds), strings.Join(slices.Sorted(maps.Keys(kinds)), "\n"))
	}
}
