package telemetry

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestLogger(t *testing.T) {
	var b strings.Builder
	log, err := Logger(&b, "warn", "json")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("quiet")
	log.Warn("loud", "n", 1)
	if got := b.String(); strings.Contains(got, "quiet") || !strings.Contains(got, `"msg":"loud","n":1`) {
		t.Errorf("got %s", got)
	}
	for _, tc := range [][2]string{{"shout", "json"}, {"info", "xml"}} {
		if _, err := Logger(&b, tc[0], tc[1]); err == nil {
			t.Errorf("%v: no error", tc)
		}
	}
}

func TestRegistry(t *testing.T) {
	reg := Registry("smtp", "v1")
	if n, err := testutil.GatherAndCount(reg, "yubin_build_info", "go_goroutines", "process_open_fds"); err != nil || n != 3 {
		t.Errorf("got %d series, %v", n, err)
	}
}

func TestRegisterShares(t *testing.T) {
	counter := func() prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "yubin_test_total", Help: "x"})
	}
	reg := prometheus.NewRegistry()
	a, b := Register(reg, counter()), Register(reg, counter())
	a.Inc()
	b.Inc()
	if got := testutil.ToFloat64(a); got != 2 {
		t.Errorf("got %v, want one counter with 2", got)
	}
	Register(nil, counter()).Inc()
	defer func() {
		if recover() == nil {
			t.Error("a contradicting collector was taken")
		}
	}()
	Register(reg, prometheus.NewGauge(prometheus.GaugeOpts{Name: "yubin_test_total", Help: "another"}))
}
