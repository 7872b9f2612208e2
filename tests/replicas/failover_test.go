package replicas

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/yubin-mail/yubin/tests/harness"
)

// eachLoss has a replica of a service lost and started again, one after the other, and calls during while it is not there.
func eachLoss(t *testing.T, s *harness.System, services []string, lose func(p *harness.Process), during func()) {
	t.Helper()
	for _, service := range services {
		for i := range 2 {
			p := s.Replica(t, service, i)
			lose(p)
			during()
			p.Start(t)
		}
	}
}

var backends = []string{"storage", "quota", "directory"}

// mailProgram is an IMAP session that does what mail programs do. Nothing of it may fail.
type mailProgram struct {
	t *testing.T
	c *imapclient.Client
	// longest is what took longest.
	longest time.Duration
	what    string
}

func openMailProgram(t *testing.T, s *harness.System, gateway int, name string) *mailProgram {
	t.Helper()
	p := &mailProgram{t: t, c: s.IMAPClient(t, gateway, name, nil)}
	_, err := p.c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	return p
}

func (p *mailProgram) do(what string, fn func() error) {
	p.t.Helper()
	begun := time.Now()
	require.NoError(p.t, fn(), what)
	if took := time.Since(begun); took > p.longest {
		p.longest, p.what = took, what
	}
}

func (p *mailProgram) work(round int) {
	p.t.Helper()
	c, one := p.c, imap.SeqSetNum(1)
	p.do("NOOP", func() error { return c.Noop().Wait() })
	p.do("FETCH of a body", func() error {
		section := &imap.FetchItemBodySection{Peek: true}
		messages, err := c.Fetch(one, &imap.FetchOptions{Envelope: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
		if err == nil && (len(messages) != 1 || len(messages[0].FindBodySection(section)) == 0) {
			return fmt.Errorf("got %v", messages)
		}
		return err
	})
	p.do("STORE", func() error {
		keyword := imap.Flag(fmt.Sprint("$Round", round%5))
		return c.Store(one, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{keyword}, Silent: true}, nil).Close()
	})
	p.do("SEARCH", func() error {
		_, err := c.Search(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "Hello"}}}, nil).Wait()
		return err
	})
	p.do("STATUS", func() error {
		_, err := c.Status("Archive", &imap.StatusOptions{NumMessages: true}).Wait()
		return err
	})
	p.do("LIST", func() error {
		_, err := c.List("", "*", nil).Collect()
		return err
	})
	p.do("APPEND", func() error {
		message := harness.Compose(fmt.Sprint("Draft ", round), "x")
		cmd := c.Append("Drafts", int64(len(message)), nil)
		if _, err := cmd.Write(message); err != nil {
			return err
		}
		if err := cmd.Close(); err != nil {
			return err
		}
		_, err := cmd.Wait()
		return err
	})
}

func TestIMAPSessionsGoOnWhenAReplicaIsKilled(t *testing.T) {
	s := start(t, harness.Options{}, "alice")
	s.Deliver(t, "alice", harness.Compose("Hello", "x"))
	messages := uint32(1)
	watchers := []*watcher{watch(t, s, 0, "alice"), watch(t, s, 1, "alice")}
	programs := []*mailProgram{openMailProgram(t, s, 0, "alice"), openMailProgram(t, s, 1, "alice")}
	rounds := 0
	eachLoss(t, s, backends, (*harness.Process).Kill, func() {
		for range 3 {
			for _, p := range programs {
				p.work(rounds)
				rounds++
			}
		}
		s.Deliver(t, "alice", harness.Compose("Hello again", "x"))
		messages++
		for _, w := range watchers {
			t.Logf("the session in IDLE heard after %v", w.hears(messages))
		}
		openMailProgram(t, s, 0, "alice") // who comes anew can log in
	})
	for _, p := range programs {
		t.Logf("what took longest was %s: %v", p.what, p.longest)
	}
	drafts := harness.Bodies(t, s.IMAPClient(t, 1, "alice", nil), "Drafts")
	require.Len(t, drafts, rounds, "no message is appended twice or lost")
	s.NoDrift(t)
}

func TestIMAPSessionsGoOnWhenAReplicaHangs(t *testing.T) {
	s := start(t, harness.Options{}, "alice")
	s.Deliver(t, "alice", harness.Compose("Hello", "x"))
	p := openMailProgram(t, s, 0, "alice")
	for _, service := range []string{"storage", "quota", "directory"} {
		hanging := s.Replica(t, service, 1)
		hanging.Freeze(t)
		begun := time.Now()
		p.do("NOOP", func() error { return p.c.Noop().Wait() })
		for range 10 {
			p.do("STATUS", func() error {
				_, err := p.c.Status("Archive", &imap.StatusOptions{NumMessages: true}).Wait()
				return err
			})
			p.do("FETCH", func() error {
				_, err := p.c.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{Envelope: true}).Collect()
				return err
			})
		}
		require.Eventually(t, func() bool {
			return s.Send("sender@elsewhere.example", []string{harness.Address("alice")}, harness.Compose("Hello", "x")) == nil
		}, patience, 100*time.Millisecond)
		t.Logf("with a hanging replica of %s: reading and a delivery took %v, longest was %s: %v", service, time.Since(begun), p.what, p.longest)
		hanging.Thaw(t)
		p.longest = 0
	}
}

func TestAPOP3DownloadGoesOnWhenAReplicaIsKilled(t *testing.T) {
	s := start(t, harness.Options{}, "alice")
	big := harness.Compose("Film", strings.Repeat(strings.Repeat("0123456789abcdef", 4)+"\n", 300_000)) // 20 MB
	s.Deliver(t, "alice", big)
	for range 50 {
		s.Deliver(t, "alice", harness.Compose("Hello", "x"))
	}
	pop := s.Wire(t, s.POP3S, true)
	pop.Expect(`^\+OK`)
	pop.Do("USER "+harness.Address("alice"), `^\+OK`)
	pop.Do("PASS "+harness.Password, `^\+OK`)
	next := 2
	var film bytes.Buffer
	pop.Do("RETR 1", `^\+OK`)
	take := func(lines int) {
		for range lines {
			line := pop.Line()
			if line == "." {
				t.Fatal("the film is over too soon")
			}
			film.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
		}
	}
	take(1000)
	eachLoss(t, s, []string{"storage"}, (*harness.Process).Kill, func() { take(50_000) })
	for {
		line := pop.Line()
		if line == "." {
			break
		}
		film.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
	}
	require.True(t, bytes.Equal(big, harness.AfterTrace(t, film.Bytes())), "the film came whole")
	pop.Do("DELE 1", `^\+OK`)
	eachLoss(t, s, backends, (*harness.Process).Kill, func() {
		for range 5 {
			pop.Do(fmt.Sprint("RETR ", next), `^\+OK`)
			pop.Expect(`^\.$`)
			pop.Do(fmt.Sprint("DELE ", next), `^\+OK`)
			next++
		}
	})
	pop.Do("QUIT", `^\+OK`)
	require.Equal(t, 51-(next-1), count(t, s, 0, "alice"))
	s.NoDrift(t)
}

func TestDeliveriesAreNeitherLostNorDoubledWhenReplicasAreLost(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T) func(p *harness.Process){
		"killed":  func(*testing.T) func(p *harness.Process) { return (*harness.Process).Kill },
		"stopped": func(t *testing.T) func(p *harness.Process) { return func(p *harness.Process) { p.Stop(t) } },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, harness.Options{}, "alice", "bob")
			var sent, inDoubt sync.Map
			var number atomic.Int64
			over := make(chan struct{})
			var senders errgroup.Group
			for i := range 8 {
				senders.Go(func() error {
					for {
						select {
						case <-over:
							return nil
						default:
						}
						subject := fmt.Sprint("number ", number.Add(1))
						err := s.Via(i%2).Send("sender@elsewhere.example", []string{harness.Address("alice"), harness.Address("bob")}, harness.Compose(subject, "x"))
						if code, _ := harness.SMTPCode(err); err != nil && code != 451 && code != 421 {
							return fmt.Errorf("%s: %w", subject, err)
						}
						if err != nil {
							inDoubt.Store(subject, err)
							continue
						}
						sent.Store(subject, true)
					}
				})
			}
			eachLoss(t, s, backends, lose(t), func() {
				// Mail flows while the replica is not there.
				from := number.Load()
				require.Eventually(t, func() bool { return number.Load() > from+50 }, patience, 10*time.Millisecond)
			})
			close(over)
			require.NoError(t, senders.Wait())
			refused := 0
			inDoubt.Range(func(subject, err any) bool {
				refused++
				t.Logf("%v was put off: %v", subject, err)
				return true
			})
			require.Zero(t, refused, "one of two replicas takes what the other cannot")
			for _, name := range []string{"alice", "bob"} {
				got := map[string]int{}
				for _, body := range harness.Bodies(t, s.IMAPClient(t, 1, name, nil), "INBOX") {
					_, rest, _ := bytes.Cut(body, []byte("\r\nSubject: "))
					subject, _, _ := bytes.Cut(rest, []byte("\r\n"))
					got[string(subject)]++
				}
				for subject, n := range got {
					require.Equal(t, 1, n, subject)
				}
				sent.Range(func(subject, _ any) bool {
					require.Equal(t, 1, got[subject.(string)], "%v was acknowledged", subject)
					return true
				})
				t.Logf("%d messages", len(got))
			}
			s.NoDrift(t)
		})
	}
}

func TestTheRestartOfNATSCostsTimeOnly(t *testing.T) {
	s := start(t, harness.Options{}, "alice")
	watchers := []*watcher{watch(t, s, 0, "alice"), watch(t, s, 1, "alice")}
	messages := uint32(0)
	deliver := func(when string) {
		t.Helper()
		s.Via(int(messages)%2).Deliver(t, "alice", harness.Compose("Hello", "x"))
		messages++
		for _, w := range watchers {
			t.Logf("%s, the change was seen after %v", when, w.hears(messages))
		}
	}
	deliver("before")
	s.Stores.NATS.Stop()
	for range 3 {
		deliver("without NATS")
	}
	s.Stores.NATS.Restart(t)
	for range 10 {
		deliver("after its restart")
	}
}
