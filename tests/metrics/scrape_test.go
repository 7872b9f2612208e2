package metrics

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/yubin-mail/yubin/tests/harness"
)

// protobuf is what a scraper asks for that takes native histograms.
const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

// families are the metrics of a process by name.
type families map[string]*dto.MetricFamily

// scrape asks a process for its metrics.
func scrape(tb testing.TB, p *harness.Process) families {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://"+p.Admin+"/metrics", nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Accept", protobuf)
	res, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		tb.Fatalf("metrics of %s: %v", p.Name, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		tb.Fatalf("metrics of %s: %s", p.Name, res.Status)
	}
	out := families{}
	decoder := expfmt.NewDecoder(res.Body, expfmt.ResponseFormat(res.Header))
	for {
		family := &dto.MetricFamily{}
		err := decoder.Decode(family)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			tb.Fatalf("metrics of %s: %v", p.Name, err)
		}
		out[family.GetName()] = family
	}
}

// series gives every time series of the families as it would be stored: name and labels.
func (f families) series() map[string]bool {
	out := map[string]bool{}
	for name, family := range f {
		for _, m := range family.GetMetric() {
			labels := labelText(m)
			switch {
			case m.GetHistogram() != nil:
				for _, b := range m.GetHistogram().GetBucket() {
					out[fmt.Sprintf("%s_bucket{%sle=%v}", name, labels, b.GetUpperBound())] = true
				}
				out[name+"_sum{"+labels+"}"], out[name+"_count{"+labels+"}"] = true, true
			case m.GetSummary() != nil:
				for _, q := range m.GetSummary().GetQuantile() {
					out[fmt.Sprintf("%s{%squantile=%v}", name, labels, q.GetQuantile())] = true
				}
				out[name+"_sum{"+labels+"}"], out[name+"_count{"+labels+"}"] = true, true
			default:
				out[name+"{"+labels+"}"] = true
			}
		}
	}
	return out
}

func labelText(m *dto.Metric) string {
	var b strings.Builder
	for _, l := range m.GetLabel() {
		fmt.Fprintf(&b, "%s=%q,", l.GetName(), l.GetValue())
	}
	return b.String()
}

// labelNames are those of all metrics of a family, sorted.
func labelNames(f *dto.MetricFamily) []string {
	var out []string
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if !slices.Contains(out, l.GetName()) {
				out = append(out, l.GetName())
			}
		}
	}
	slices.Sort(out)
	return out
}
