package feed

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/testserver/nats"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// patience is longer than anything takes that happens at all.
const patience = time.Minute

// settings parses flags.
func settings(t *testing.T, args ...string) Config {
	t.Helper()
	var c Config
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.Flags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c
}

// replica is the feed of one process.
type replica struct {
	*NATS
	gaps chan struct{}
	reg  *prometheus.Registry
}

// join makes a replica that does not send yet.
func join(t *testing.T, server *nats.Server) *replica {
	t.Helper()
	r := &replica{gaps: make(chan struct{}, 1000), reg: prometheus.NewRegistry()}
	bus, err := Connect(settings(t, "--storage-nats-url", server.URL()), NewMemory(r.reg), func() { r.gaps <- struct{}{} }, slog.New(slog.DiscardHandler), r.reg)
	if err != nil {
		t.Fatal(err)
	}
	r.NATS = bus
	return r
}

// run sends until the test ends.
func (r *replica) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func start(t *testing.T, server *nats.Server) *replica {
	t.Helper()
	r := join(t, server)
	r.run(t)
	r.hearsOfGap(t)                                       // the connection is up
	if err := r.conn.FlushTimeout(patience); err != nil { // and the server knows the subscription
		t.Fatal(err)
	}
	return r
}

func (r *replica) hearsOfGap(t *testing.T) {
	t.Helper()
	select {
	case <-r.gaps:
	case <-time.After(patience):
		t.Fatal("nobody told that something is missing")
	}
}

// watch subscribes to a mailbox.
func (r *replica) watch(t *testing.T, mailbox uint64) *Subscription {
	t.Helper()
	s := r.Subscribe()
	t.Cleanup(s.Close)
	s.Add(Key{AccountID: "a", MailboxID: mailbox})
	return s
}

func change(mailbox, modseq uint64) meta.Change {
	return meta.Change{AccountID: "a", MailboxID: mailbox, Modseq: modseq}
}

// hears waits for one change.
func hears(t *testing.T, s *Subscription, want meta.Change) {
	t.Helper()
	select {
	case <-s.Ready():
	case <-time.After(patience):
		t.Fatal("no change came")
	}
	if got, resync := s.Take(); len(got) != 1 || got[0] != want || resync {
		t.Fatalf("got %v, %v, want %v", got, resync, want)
	}
}

func TestChangesReachTheOtherReplicasOnce(t *testing.T) {
	server := nats.Start(t)
	one, two := start(t, server), start(t, server)
	here, there := one.watch(t, 1), two.watch(t, 1)
	for modseq := range uint64(20) {
		c := change(1, modseq+1)
		one.Publish([]meta.Change{change(2, modseq+1), c})
		hears(t, here, c)
		hears(t, there, c)
	}
	two.Publish([]meta.Change{{AccountID: "a", MailboxID: 1, Deleted: true}})
	hears(t, here, meta.Change{AccountID: "a", MailboxID: 1, Deleted: true})
	hears(t, there, meta.Change{AccountID: "a", MailboxID: 1, Deleted: true})
	for name, s := range map[string]*Subscription{"its own replica": here, "the other": there} {
		if got, _ := s.Take(); len(got) != 0 {
			t.Errorf("the watcher of %s heard twice of %v", name, got)
		}
	}
}

func TestRestartOfTheServerIsBridged(t *testing.T) {
	server := nats.Start(t)
	one, two := start(t, server), start(t, server)
	here, there := one.watch(t, 1), two.watch(t, 1)
	server.Stop()
	two.hearsOfGap(t) // so that it looks more often
	if two.Reliable() {
		t.Error("what does not come is relied on")
	}
	one.Publish([]meta.Change{change(1, 5)})
	hears(t, here, change(1, 5))
	server.Restart(t)
	two.hearsOfGap(t)
	// Until both are connected, what is sent may get lost, and the others are told so.
	for modseq := uint64(6); ; modseq++ {
		one.Publish([]meta.Change{change(1, modseq)})
		select {
		case <-there.Ready():
			if got, _ := there.Take(); len(got) != 1 || got[0].Modseq < 6 {
				t.Errorf("got %v", got)
			}
			return
		case <-time.After(100 * time.Millisecond):
			if modseq > uint64(patience/(100*time.Millisecond)) {
				t.Fatal("no change came after the restart")
			}
		}
	}
}

func TestWithoutAServerNothingWaits(t *testing.T) {
	server := nats.Start(t)
	server.Stop()
	one := join(t, server)
	here := one.watch(t, 1)
	for modseq := range uint64(queueSize + 10) { // nobody sends yet: the queue is full
		one.Publish([]meta.Change{change(1, modseq+1)})
	}
	hears(t, here, change(1, queueSize+10))
	if n := testutil.ToFloat64(one.changes.WithLabelValues("dropped")); n != 10 {
		t.Errorf("%v changes were dropped", n)
	}
	server.Restart(t)
	one.hearsOfGap(t) // it is connected
	two := start(t, server)
	for len(two.gaps) > 0 {
		<-two.gaps
	}
	one.run(t)
	two.hearsOfGap(t)
}

func TestNATSSettings(t *testing.T) {
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{},
		{"--storage-nats-url", "nats://a:4222,tls://user:pw@b:4222", "--storage-nats-token-file", token},
	} {
		c := settings(t, args...)
		if errs := c.Validate(); len(errs) != 0 {
			t.Errorf("%q: %v", args, errs)
		}
		if _, err := c.options(); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, args := range [][]string{
		{"--storage-nats-url", "a:4222"},
		{"--storage-nats-url", "nats://a:4222,"},
		{"--storage-nats-url", "nats://a", "--storage-nats-subject", "a.*"},
		{"--storage-nats-url", "nats://a", "--storage-nats-cert", "x"},
		{"--storage-feed-poll", "1ms"},
		{"--storage-feed-safety-poll", "1ms"},
	} {
		c := settings(t, args...)
		if errs := c.Validate(); len(errs) != 1 {
			t.Errorf("%q: %v", args, errs)
		}
	}
	for _, args := range [][]string{
		{"--storage-nats-credentials", filepath.Join(dir, "none")},
		{"--storage-nats-token-file", filepath.Join(dir, "none")},
		{"--storage-nats-token-file", os.DevNull},
	} {
		c := settings(t, args...)
		if _, err := c.options(); err == nil {
			t.Errorf("%q were taken", args)
		}
	}
}
