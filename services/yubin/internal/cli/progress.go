package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/yubin-mail/yubin/services/yubin/internal/transfer"
)

// newProgress shows a bar where a person looks on, and a line now and then elsewhere.
func (a *app) newProgress(verb string) transfer.Progress {
	if f, ok := a.errOut.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &barProgress{w: f, verb: verb}
	}
	return &lineProgress{w: a.errOut, verb: verb, now: time.Now}
}

// barProgress counts octets, which tell better than messages how long it takes.
type barProgress struct {
	w     io.Writer
	verb  string
	bar   *progressbar.ProgressBar
	total int
	done  int
}

// Start implements transfer.Progress.
func (p *barProgress) Start(messages int, octets int64) {
	p.total = messages
	p.bar = progressbar.NewOptions64(max(octets, 1), progressbar.OptionSetWriter(p.w), progressbar.OptionShowBytes(true),
		progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetDescription(p.description()), progressbar.OptionSetPredictTime(true))
}

func (p *barProgress) description() string {
	return fmt.Sprintf("%s %d of %d messages", p.verb, p.done, p.total)
}

// Done implements transfer.Progress. What the terminal refuses is not worth an error.
func (p *barProgress) Done(octets int64) {
	p.done++
	p.bar.Describe(p.description())
	_ = p.bar.Add64(octets)
}

// Finish implements transfer.Progress.
func (p *barProgress) Finish() { _ = p.bar.Clear() }

// lineInterval is how often a line is printed where there is no terminal.
const lineInterval = 5 * time.Second

type lineProgress struct {
	w           io.Writer
	verb        string
	now         func() time.Time
	last        time.Time
	total, done int
	octets      int64
}

// Start implements transfer.Progress.
func (p *lineProgress) Start(messages int, _ int64) {
	p.total, p.last = messages, p.now()
}

// Done implements transfer.Progress.
func (p *lineProgress) Done(octets int64) {
	p.done++
	p.octets += octets
	if now := p.now(); now.Sub(p.last) >= lineInterval {
		p.last = now
		fmt.Fprintf(p.w, "%s %d of %d messages (%s)\n", p.verb, p.done, p.total, humanBytes(p.octets))
	}
}

// Finish implements transfer.Progress.
func (p *lineProgress) Finish() {}
