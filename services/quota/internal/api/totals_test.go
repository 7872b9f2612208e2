package api

import (
	"math"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

func TestGrowthAndTimeToFull(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	samples := func(used ...int64) []ledger.Sample {
		var out []ledger.Sample
		for i, n := range used {
			out = append(out, ledger.Sample{Taken: start.Add(time.Duration(i) * time.Hour), Used: n})
		}
		return out
	}
	for name, tc := range map[string]struct {
		history []ledger.Sample
		sums    ledger.Totals
		rate    float64
		left    float64
	}{
		"no history":       {nil, ledger.Totals{Limit: 100, Limited: 50}, 0, math.Inf(1)},
		"one hour":         {samples(50), ledger.Totals{Limit: 100, Limited: 50}, 0, math.Inf(1)},
		"steady":           {samples(0, 3600, 7200), ledger.Totals{Limit: 7300, Limited: 7200}, 1, 100},
		"up and down":      {samples(7200, 0, 7200, 0, 7200), ledger.Totals{Limit: 9000, Limited: 7200}, 0, math.Inf(1)},
		"shrinks":          {samples(7200, 3600), ledger.Totals{Limit: 9000, Limited: 3600}, -1, math.Inf(1)},
		"full":             {samples(0, 3600), ledger.Totals{Limit: 3600, Limited: 3600}, 1, 0},
		"nobody limited":   {samples(0, 3600), ledger.Totals{}, 1, math.Inf(1)},
		"at the same time": {append(samples(5), samples(9)...), ledger.Totals{Limit: 10, Limited: 9}, 0, math.Inf(1)},
	} {
		rate := slope(tc.history)
		if math.Abs(rate-tc.rate) > 1e-9 {
			t.Errorf("%s: grows by %v", name, rate)
		}
		if left := remaining(tc.sums, rate); left != tc.left && math.Abs(left-tc.left) > 1e-6 {
			t.Errorf("%s: full in %v", name, left)
		}
	}
}
