//go:build kube

package kube

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"
)

// deliver sends a mail as another server would, and says whether it was accepted.
func deliver(addr, token string) error {
	client, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer client.Close()
	client.CommandTimeout, client.SubmissionTimeout = time.Minute, 2*time.Minute
	text := fmt.Sprintf("From: bob@example.org\r\nTo: %s\r\nSubject: %s\r\n\r\nHello\r\n", alice, token)
	if err := client.SendMail("bob@example.org", []string{alice}, strings.NewReader(text)); err != nil {
		return err
	}
	_ = client.Quit() // the answer to the message was the promise
	return nil
}

// login opens an IMAP session. The certificate must be the one in the Secret.
func (r *release) login(t *testing.T, addr string) *imapclient.Client {
	t.Helper()
	encoded := r.kubectl("get", "secret", "yubin-tls", "-o", `jsonpath={.data.tls\.crt}`)
	pem, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client, err := imapclient.DialTLS(addr, &imapclient.Options{TLSConfig: &tls.Config{RootCAs: roots, ServerName: "mail.example.com", NextProtos: []string{"imap"}}})
	if err != nil {
		t.Fatalf("connect to IMAP: %v", err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if err := client.Login(alice, password).Wait(); err != nil {
		t.Fatalf("log in: %v", err)
	}
	return client
}

// subjects counts how often each subject is in INBOX.
func (r *release) subjects(t *testing.T) map[string]int {
	t.Helper()
	client := r.login(t, r.port("imap", "imaps"))
	defer client.Close()
	box, err := client.Select("INBOX", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	if box.NumMessages == 0 {
		return out
	}
	var all imap.SeqSet
	all.AddRange(1, 0)
	messages, err := client.Fetch(all, &imap.FetchOptions{Envelope: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		out[m.Envelope.Subject]++
	}
	return out
}

// sender delivers all the time, until it is stopped. What is not accepted is tried again as another mail, so that a mail
// that was stored without an answer shows, too.
type sender struct {
	mu       sync.Mutex
	accepted map[string]bool
	refused  int
	stop     func()
}

func (r *release) sendAlways(t *testing.T, several int) *sender {
	t.Helper()
	s := &sender{accepted: map[string]bool{}}
	addr, done := r.port("smtp", "smtp"), make(chan struct{})
	var running sync.WaitGroup
	for range several {
		running.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				token := rand.Text()
				err := deliver(addr, token)
				s.mu.Lock()
				if err == nil {
					s.accepted[token] = true
				} else {
					s.refused++
				}
				s.mu.Unlock()
			}
		})
	}
	s.stop = sync.OnceFunc(func() {
		close(done)
		running.Wait()
	})
	t.Cleanup(s.stop)
	return s
}

func (s *sender) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.accepted)
}

// verify stops, and holds what was accepted against what is in the mailbox.
func (s *sender) verify(t *testing.T, r *release) {
	t.Helper()
	s.stop()
	if len(s.accepted) == 0 {
		t.Fatal("nothing was accepted")
	}
	have := r.subjects(t)
	for token := range maps.Keys(s.accepted) {
		if have[token] != 1 {
			t.Errorf("a mail that was accepted is there %d times", have[token])
		}
	}
	for token, n := range have {
		if n > 1 {
			t.Errorf("mail %s is there %d times", token, n)
		}
	}
	t.Logf("%d mails accepted, %d attempts not; each accepted one is there once", len(s.accepted), s.refused)
}
