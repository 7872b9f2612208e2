//go:build kube

package kube

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// sent is the mailbox into which load appends.
const sent = "Load"

// pause leaves the machine some time for the cluster that it runs.
const pause = 20 * time.Millisecond

// load is what users and other servers do all the time: mail comes in for alice and bob, alice's program keeps copies by IMAP, and bob's fetches
// and removes by POP3. Whatever is not acknowledged is tried again as another mail, so that one that was stored without an answer shows, too.
type load struct {
	t    *testing.T
	r    *release
	tls  *tls.Config
	stop func()

	mu       sync.Mutex
	accepted map[string]bool // by SMTP, for alice and bob each
	appended map[string]bool // by IMAP
	fetched  map[string]int  // by POP3, and removed; +OK to QUIT was the promise
	unsure   map[string]bool // fetched, and the answer to QUIT did not come
	asked    int             // how often a client was asked to connect again
	troubles []string        // whatever else a client saw
}

// startLoad goes on until verify.
func (r *release) startLoad(t *testing.T) *load {
	t.Helper()
	l := &load{
		t: t, r: r, tls: r.tls(t),
		accepted: map[string]bool{}, appended: map[string]bool{}, fetched: map[string]int{}, unsure: map[string]bool{},
	}
	mx, imaps, pop3s := r.port("smtp", "smtp"), r.port("imap", "imaps"), r.port("pop3", "pop3s")
	done := make(chan struct{})
	var running sync.WaitGroup
	always := func(step func()) {
		running.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					step()
					time.Sleep(pause)
				}
			}
		})
	}
	for range 3 {
		always(func() { l.deliver(mx) })
	}
	always(func() { l.keep(imaps, done) })
	always(func() { l.fetch(pop3s) })
	l.stop = sync.OnceFunc(func() {
		close(done)
		running.Wait()
	})
	t.Cleanup(l.stop)
	return l
}

// note remembers what a client saw that did not end well. A pause keeps a client from asking as fast as it can.
func (l *load) note(what string, err error) {
	l.mu.Lock()
	defer func() {
		l.mu.Unlock()
		time.Sleep(50 * time.Millisecond)
	}()
	if errors.Is(err, errAsked) {
		l.asked++
		return
	}
	l.troubles = append(l.troubles, fmt.Sprintf("%s %s: %v", time.Now().UTC().Format("15:04:05.000"), what, err))
}

func (l *load) deliver(addr string) {
	token := rand.Text()
	if err := deliver(addr, token, alice, bob); err != nil {
		l.note("SMTP", err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted[token] = true
}

// keep appends as alice until the session ends.
func (l *load) keep(addr string, done <-chan struct{}) {
	w, err := dialIMAP(addr, l.tls, alice)
	if err != nil {
		l.note("IMAP login", err)
		return
	}
	defer w.close()
	if _, err := w.imap("SELECT INBOX"); err != nil {
		l.note("IMAP", err)
		return
	}
	for {
		select {
		case <-done:
			return
		default:
		}
		token := rand.Text()
		if _, err := w.imap("APPEND "+sent, message(token)); err != nil {
			l.note("IMAP", err)
			return
		}
		l.mu.Lock()
		l.appended[token] = true
		l.mu.Unlock()
		if _, err := w.imap("UID FETCH * (FLAGS ENVELOPE)"); err != nil {
			l.note("IMAP", err)
			return
		}
		time.Sleep(pause)
	}
}

// fetch empties bob's maildrop once.
func (l *load) fetch(addr string) {
	w, err := dialPOP3(addr, l.tls, bob)
	if err != nil {
		l.note("POP3 login", err)
		return
	}
	defer w.close()
	list, err := w.pop3("LIST", true)
	if err != nil {
		l.note("POP3", err)
		return
	}
	var tokens []string
	for i := range list {
		lines, err := w.pop3(fmt.Sprint("RETR ", i+1), true)
		if err == nil {
			tokens = append(tokens, subject(lines))
			_, err = w.pop3(fmt.Sprint("DELE ", i+1), false)
		}
		if err != nil {
			l.note("POP3", err)
			return
		}
	}
	_, err = w.pop3("QUIT", false)
	l.mu.Lock()
	for _, token := range tokens {
		if err == nil {
			l.fetched[token]++
		} else if !errors.Is(err, errAsked) {
			l.unsure[token] = true
		}
	}
	l.mu.Unlock()
	if err != nil {
		l.note("POP3 QUIT", err)
	}
}

// goesOn waits until everything works again after what was done.
func (l *load) goesOn() {
	l.t.Helper()
	counts := func() [3]int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return [3]int{len(l.accepted), len(l.appended), len(l.fetched)}
	}
	before := counts()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		now := counts()
		if now[0] > before[0]+5 && now[1] > before[1]+5 && now[2] > before[2] {
			return
		}
		if time.Now().After(end) {
			l.t.Fatalf("not everything works again: %v, then %v; %s", before, now, strings.Join(l.troubles, "\n"))
		}
	}
}

// What clients may see while something is done to the system.
type promise int

const (
	// politely: nothing but being asked to connect again.
	politely promise = iota
	// roughly: connections that are cut, and mail that is deferred.
	roughly
)

// verify stops, and holds what was acknowledged against what is in the mailboxes.
func (l *load) verify(what string, p promise) {
	t := l.t
	t.Helper()
	l.goesOn()
	l.stop()
	if p == politely && len(l.troubles) > 0 {
		t.Errorf("%s: clients saw\n%s", what, strings.Join(l.troubles[:min(20, len(l.troubles))], "\n"))
	}
	inbox, copies, rest := l.r.subjects(t, alice, "INBOX"), l.r.subjects(t, alice, sent), l.r.subjects(t, bob, "INBOX")
	for token := range maps.Keys(l.accepted) {
		if inbox[token] != 1 {
			t.Errorf("%s: a mail that was accepted is there %d times for alice", what, inbox[token])
		}
		n := rest[token] + l.fetched[token]
		if n != 1 && (n != 0 || !l.unsure[token]) {
			t.Errorf("%s: a mail that was accepted is there %d times for bob, and was fetched %d times", what, rest[token], l.fetched[token])
		}
	}
	for token := range maps.Keys(l.appended) {
		if copies[token] != 1 {
			t.Errorf("%s: a copy that was appended is there %d times", what, copies[token])
		}
	}
	for _, have := range []map[string]int{inbox, copies, rest} {
		for token, n := range have {
			if n > 1 {
				t.Errorf("%s: %s is there %d times", what, token, n)
			}
		}
	}
	if p == politely {
		for token := range copies { // a command that the server asked to repeat was not done
			if !l.appended[token] && !l.r.known[token] {
				t.Errorf("%s: a copy is there of which the client was not told", what)
			}
		}
	}
	maps.Copy(l.r.known, asSet(copies))
	t.Logf("%s: %d mails accepted, %d appended, %d fetched; asked %d times to connect again, %d troubles",
		what, len(l.accepted), len(l.appended), len(l.fetched), l.asked, len(l.troubles))
}

func asSet(have map[string]int) map[string]bool {
	out := map[string]bool{}
	for token := range have {
		out[token] = true
	}
	return out
}

func message(token string) string {
	return fmt.Sprintf("From: bob@example.org\r\nTo: %s\r\nSubject: %s\r\n\r\nHello\r\n", alice, token)
}

func subject(lines []string) string {
	for _, line := range lines {
		if token, ok := strings.CutPrefix(line, "Subject: "); ok {
			return token
		}
	}
	return ""
}

// deliver sends a mail as another server would. It gives errAsked if the server wants to be asked again.
func deliver(addr, token string, to ...string) error {
	client, err := smtp.Dial(addr)
	if err == nil {
		defer client.Close()
		client.CommandTimeout, client.SubmissionTimeout = patienceOfClients, 2*patienceOfClients
		err = client.SendMail("bob@example.org", to, strings.NewReader(message(token)))
	}
	var answer *smtp.SMTPError
	switch {
	case errors.As(err, &answer) && answer.Code == 421:
		return fmt.Errorf("%w: %w", errAsked, err)
	case err != nil:
		return err
	}
	_ = client.Quit() // the answer to the message was the promise
	return nil
}
