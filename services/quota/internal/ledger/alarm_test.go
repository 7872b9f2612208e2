package ledger

import (
	"math"
	"testing"
)

func TestAlarmHysteresis(t *testing.T) {
	type step struct {
		fill    int
		refused bool
		warn    int // the level warned of at this step, 0: none
	}
	usage := func(fill, warn int) step { return step{fill, false, warn} }
	refusal := func(fill, warn int) step { return step{fill, true, warn} }
	for name, c := range map[string]struct {
		levels []int
		steps  []step
	}{
		"each level once":               {nil, []step{usage(79, 0), usage(80, 80), usage(89, 0), usage(90, 90), usage(99, 0), usage(100, 100), usage(120, 0)}},
		"a jump warns of the highest":   {nil, []step{usage(95, 90), usage(80, 0), usage(89, 0)}},
		"about a level":                 {nil, []step{usage(80, 80), usage(79, 0), usage(80, 0), usage(75, 0), usage(80, 0), usage(74, 0), usage(80, 80)}},
		"the lower level stays warned":  {nil, []step{usage(90, 90), usage(84, 0), usage(80, 0), usage(90, 90)}},
		"a level apart":                 {nil, []step{usage(90, 90), usage(76, 0), usage(80, 0), usage(74, 0), usage(80, 80)}},
		"emptied and filled":            {nil, []step{usage(100, 100), usage(0, 0), usage(100, 100)}},
		"a refusal is full":             {nil, []step{usage(85, 80), refusal(85, 100), refusal(85, 0), usage(100, 0), usage(81, 0), refusal(81, 0), usage(79, 0), refusal(80, 100)}},
		"refusal of a huge message":     {nil, []step{refusal(79, 0), usage(80, 80)}},
		"refusal after full":            {nil, []step{usage(100, 100), refusal(100, 0), usage(95, 0), refusal(95, 0), usage(94, 0), refusal(94, 100)}},
		"another list":                  {[]int{50}, []step{usage(49, 0), usage(60, 50), usage(45, 0), usage(50, 0), usage(44, 0), refusal(50, 50)}},
		"no warnings":                   {[]int{}, []step{usage(100, 0), refusal(100, 0)}},
		"a level above full":            {[]int{80, 110}, []step{refusal(90, 80), usage(111, 110)}},
		"first level at the very start": {[]int{1}, []step{usage(1, 1), usage(0, 0), usage(1, 0)}},
	} {
		t.Run(name, func(t *testing.T) {
			levels := c.levels
			if levels == nil {
				levels = []int{80, 90, 100}
			}
			var a alarm
			for i, s := range c.steps {
				next, raised := a.next(levels, s.fill, s.refused)
				warned := 0
				if raised {
					warned = next.level
				}
				if warned != s.warn {
					t.Errorf("step %d at %d %%: warned of %d, want %d", i+1, s.fill, warned, s.warn)
				}
				a = next
			}
		})
	}
}

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		used, limit int64
		want        int
	}{
		{0, 100, 0}, {79, 100, 79}, {799, 1000, 79}, {29, 100, 29}, {100, 100, 100}, {150, 100, 150},
		{5, Unlimited, 0}, {-5, 100, 0}, {0, 0, 0}, {1, 0, 1000}, {1 << 62, 1, 1000},
		{math.MaxInt64, math.MaxInt64, 100}, {math.MaxInt64 / 2, math.MaxInt64, 50},
	} {
		if got := percent(c.used, c.limit); got != c.want {
			t.Errorf("percent(%d, %d) = %d, want %d", c.used, c.limit, got, c.want)
		}
	}
}
