package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// counter shows how far something is: a bar where a person looks on, and a line now and then elsewhere.
type counter struct {
	app        *app
	verb, unit string
	terminal   bool
	bar        *progressbar.ProgressBar
	last       time.Time
}

func (a *app) newCounter(verb, unit string) *counter {
	f, ok := a.errOut.(*os.File)
	return &counter{app: a, verb: verb, unit: unit, terminal: ok && term.IsTerminal(int(f.Fd())), last: time.Now()}
}

// show tells what is done of a total, 0 if that is unknown; octets are 0 if none are counted.
func (c *counter) show(done, total, octets, totalOctets int64) {
	text := fmt.Sprintf("%s %d %s", c.verb, done, c.unit)
	if total > 0 {
		text = fmt.Sprintf("%s %d of %d %s", c.verb, done, total, c.unit)
	}
	if octets > 0 {
		text += " (" + humanBytes(octets) + ")"
	}
	if !c.terminal {
		if now := time.Now(); now.Sub(c.last) >= lineInterval {
			c.last = now
			c.app.note("%s", text)
		}
		return
	}
	if totalOctets > 0 { // they tell better how long it takes
		done, total = octets, totalOctets
	}
	if total <= 0 {
		total = -1
	}
	if c.bar == nil {
		c.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(c.app.errOut), progressbar.OptionSetWidth(30),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
	}
	c.bar.Describe(text)
	_ = c.bar.Set64(done)
}

// clear takes the bar away, to make room for a line or at the end.
func (c *counter) clear() {
	if c.bar != nil {
		_ = c.bar.Clear()
	}
}
