package otlp

import (
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestConfig(t *testing.T) {
	var c Config
	fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
	c.Flags(fs)
	if errs := c.Validate(); len(errs) != 0 || c.Endpoint != "" {
		t.Errorf("the defaults are %+v: %v", c, errs)
	}
	for _, endpoint := range []string{"collector:4317", "ftp://collector", "http://", "http://%"} {
		c.Endpoint = endpoint
		if errs := c.Validate(); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "--trace-endpoint: ") {
			t.Errorf("%s: %v", endpoint, errs)
		}
	}
	c.Endpoint = "https://collector:4317"
	for _, ratio := range []float64{-1, 2, math.NaN()} {
		c.Ratio = ratio
		if errs := c.Validate(); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "--trace-ratio: ") {
			t.Errorf("%v: %v", ratio, errs)
		}
	}
}

func TestNowhere(t *testing.T) {
	tracer, done, err := Open(t.Context(), Config{Ratio: 1}, "smtp", "v1", slog.New(slog.DiscardHandler))
	if tracer != nil || err != nil {
		t.Errorf("%v, %v", tracer, err)
	}
	done()
}
