package ledger

import "math"

// rearmPoints is by how many percent points usage must fall below a level before that level warns again.
const rearmPoints = 5

// alarm is the level (percent) of which the owner was warned, 0 for none, and the fill below which it may warn again.
type alarm struct{ level, rearm int }

// next gives the alarm at a fill in percent, and whether the owner is to be warned now. levels ascend. A refusal counts as 100 %
// where the first level is reached: one huge message into a mailbox that is half empty does not make it full.
func (a alarm) next(levels []int, fill int, refused bool) (alarm, bool) {
	if len(levels) == 0 {
		return a, false
	}
	if fill < a.rearm {
		lower := highest(levels, func(level int) bool { return level < a.level && fill >= level-rearmPoints })
		a = alarm{level: lower, rearm: lower - rearmPoints}
	}
	reached := fill
	if refused && fill >= levels[0] {
		reached = max(fill, 100)
	}
	if level := highest(levels, func(level int) bool { return level <= reached }); level > a.level {
		return alarm{level: level, rearm: min(level, fill) - rearmPoints}, true
	}
	return a, false
}

// highest gives the highest level that is wanted, 0 if none is.
func highest(levels []int, wanted func(level int) bool) (found int) {
	for _, level := range levels {
		if wanted(level) {
			found = level
		}
	}
	return found
}

// fill is the usage in percent of the limit, of bytes or of messages, whichever is more; rounded down.
func (u Usage) fill() int {
	return max(percent(u.Used.Bytes, u.Limit.Bytes), percent(u.Used.Messages, u.Limit.Messages))
}

// Ratio of usage to limit, of bytes or of messages, whichever is more; 0 without a limit, and 1 for a limit of 0.
func (u Usage) Ratio() float64 {
	return max(ratio(u.Used.Bytes, u.Limit.Bytes), ratio(u.Used.Messages, u.Limit.Messages))
}

func ratio(used, limit int64) float64 {
	switch limit {
	case Unlimited:
		return 0
	case 0:
		return 1
	}
	return float64(used) / float64(limit)
}

func percent(used, limit int64) int {
	const most = 1000 // enough for a usage that is far over the limit
	switch {
	case limit == Unlimited || used <= 0:
		return 0
	case limit == 0:
		return most
	case used > math.MaxInt64/100:
		return int(min(most, used/max(1, limit/100)))
	}
	return int(min(most, used*100/limit))
}
