package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/tests/harness"
	"github.com/yubin-mail/yubin/tests/netfault"
)

// monkey breaks things and mends them. All that it does is in one goroutine.
type monkey struct {
	t     *testing.T
	s     *harness.System
	links []*netfault.Link
	rng   *rand.Rand
	start time.Time

	// busy are the things that are broken now.
	busy map[string]bool
	// mends are to be done at their time.
	mends []mend
	// next is when the next thing breaks.
	next   time.Time
	counts map[string]int
}

// mend makes something well again.
type mend struct {
	at   time.Time
	what string
	do   func()
}

func newMonkey(t *testing.T, s *harness.System, links []*netfault.Link, seed uint64) *monkey {
	return &monkey{
		t: t, s: s, links: links, rng: rand.New(rand.NewPCG(seed, 2)), busy: map[string]bool{}, counts: map[string]int{}, // repeatable on purpose
	}
}

// run breaks things for a while. At its end all is mended and ready.
func (m *monkey) run(d time.Duration) {
	m.start = time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := m.start.Add(d); time.Now().Before(end); <-tick.C {
		m.supervise()
		m.mend(time.Now())
		if now := time.Now(); now.After(m.next) {
			m.next = now.Add(m.upTo(3 * time.Second))
			m.harm()
		}
	}
	for len(m.mends) > 0 {
		m.mend(m.mends[0].at)
	}
	for _, p := range m.s.Processes {
		m.ready(p)
	}
	m.t.Logf("broken: %v", m.counts)
}

func (m *monkey) upTo(d time.Duration) time.Duration { return time.Duration(m.rng.Int64N(int64(d))) }

func (m *monkey) log(format string, args ...any) {
	m.t.Logf("%7.2fs "+format, append([]any{time.Since(m.start).Seconds()}, args...)...)
}

// supervise starts processes again that have ended by themselves, as those do that find no store at their start.
func (m *monkey) supervise() {
	for _, p := range m.s.Processes {
		if !m.busy[p.Name] && !p.Running() {
			m.log("%s has ended and is started again", p.Name)
			m.counts["restarts"]++
			m.breakFor(p.Name, 200*time.Millisecond, func() { p.Launch(m.t) })
		}
	}
}

// ready waits for a process, starting it as often as it takes.
func (m *monkey) ready(p *harness.Process) {
	for deadline := time.Now().Add(2 * time.Minute); p.Ready(m.t) != nil; time.Sleep(50 * time.Millisecond) {
		if !p.Running() {
			p.Launch(m.t)
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%s does not become ready: %v", p.Name, p.Ready(m.t))
		}
	}
}

// breakFor notes that something is broken, and how it is mended.
func (m *monkey) breakFor(name string, d time.Duration, do func()) {
	m.busy[name] = true
	m.mends = append(m.mends, mend{time.Now().Add(d), name, do})
	slices.SortFunc(m.mends, func(a, b mend) int { return a.at.Compare(b.at) })
}

func (m *monkey) mend(now time.Time) {
	for len(m.mends) > 0 && !m.mends[0].at.After(now) {
		next := m.mends[0]
		m.mends = m.mends[1:]
		next.do()
		delete(m.busy, next.what)
		m.log("%s is mended", next.what)
	}
}

// harm breaks one thing.
func (m *monkey) harm() {
	kinds := []struct {
		name   string
		weight int
		do     func() bool
	}{
		{"kill", 8, m.kill}, {"hang", 2, m.hang}, {"link", 8, m.link},
		{"postgres", 2, func() bool {
			return m.store("postgres", func() { m.s.Stores.Postgres.Kill(m.t) }, func() { m.s.Stores.Postgres.Restart(m.t) })
		}},
		{"minio", 2, func() bool {
			return m.store("minio", func() { m.s.Stores.MinIO.Kill(m.t) }, func() { m.s.Stores.MinIO.Restart(m.t) })
		}},
		{"minio hangs", 1, func() bool {
			return m.store("minio", func() { m.s.Stores.MinIO.Pause(m.t) }, func() { m.s.Stores.MinIO.Resume(m.t) })
		}},
		{"nats", 1, func() bool {
			return m.store("nats", func() { m.s.Stores.NATS.Stop() }, func() { m.s.Stores.NATS.Restart(m.t) })
		}},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	pick := m.rng.IntN(total)
	for _, k := range kinds {
		if pick -= k.weight; pick < 0 {
			if k.do() {
				m.counts[k.name]++
			}
			return
		}
	}
}

// kill ends a process, or all replicas of a service.
func (m *monkey) kill() bool {
	victim := m.s.Processes[m.rng.IntN(len(m.s.Processes))]
	service, _, _ := strings.Cut(victim.Name, "-")
	all := m.rng.IntN(4) == 0
	harmed := false
	for _, p := range m.s.Processes {
		if (p == victim || all && strings.HasPrefix(p.Name, service+"-")) && !m.busy[p.Name] {
			m.log("%s is killed", p.Name)
			p.Kill()
			m.breakFor(p.Name, m.upTo(2*time.Second), func() { p.Launch(m.t) })
			harmed = true
		}
	}
	return harmed
}

// hang stops a process for a while.
func (m *monkey) hang() bool {
	victim := m.s.Processes[m.rng.IntN(len(m.s.Processes))]
	if m.busy[victim.Name] || !victim.Running() {
		return false
	}
	m.log("%s hangs", victim.Name)
	victim.Signal(m.t, syscall.SIGSTOP)
	m.breakFor(victim.Name, m.upTo(8*time.Second), func() { victim.Signal(m.t, syscall.SIGCONT) })
	return true
}

// link does something to the network: to one way, to all ways to a process, or to all ways from one.
func (m *monkey) link() bool {
	one := m.links[m.rng.IntN(len(m.links))]
	state, name := netfault.State{Cut: true}, "cut"
	switch m.rng.IntN(4) {
	case 3:
		state, name = netfault.State{Mute: true}, "mute"
	case 1:
		state, name = netfault.State{Silent: true}, "silent"
	case 2:
		state, name = netfault.State{Delay: time.Millisecond + m.upTo(300*time.Millisecond)}, "slow"
	}
	match := func(l *netfault.Link) bool { return l == one }
	what := fmt.Sprintf("the way from %s to %s", one.From, one.To)
	switch m.rng.IntN(3) {
	case 1:
		match, what = func(l *netfault.Link) bool { return l.To == one.To }, "all ways to "+one.To
	case 2:
		match, what = func(l *netfault.Link) bool { return l.From == one.From }, "all ways from "+one.From
	}
	if m.busy[what] {
		return false
	}
	m.log("%s: %s", what, name)
	for _, l := range m.links {
		if match(l) {
			l.Set(state)
		}
	}
	m.breakFor(what, m.upTo(6*time.Second), func() {
		for _, l := range m.links {
			if match(l) {
				l.Set(netfault.State{})
			}
		}
	})
	return true
}

// store breaks one of the stores.
func (m *monkey) store(name string, harm, mend func()) bool {
	if m.busy[name] {
		return false
	}
	m.log("%s breaks", name)
	harm()
	m.breakFor(name, m.upTo(4*time.Second), mend)
	return true
}
