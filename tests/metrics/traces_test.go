package metrics

import (
	"fmt"
	"strings"
	"testing"

	"github.com/yubin-mail/yubin/tests/harness"
)

// TestTraces follows a delivery and a fetch through all services.
func TestTraces(t *testing.T) {
	for _, shape := range []harness.Shape{harness.AllInOne, harness.Production} {
		t.Run(string(shape), func(t *testing.T) {
			c := startCollector(t)
			s := harness.Start(t, harness.Options{
				Shape: shape, Accounts: []string{"alice"}, Args: []string{"--trace-endpoint=http://" + c.addr, "--trace-ratio=1"},
			})
			// In one process all spans are of one service.
			of := func(service, name string) string {
				if shape == harness.AllInOne {
					service = "yubin"
				}
				return service + ": " + name
			}
			s.Deliver(t, "alice", []byte(message("zanzibar", 2000)))
			delivery := c.await(t, "smtp DATA",
				of("storage", "yubin.storage.v1.StorageService/Deliver"), of("storage", "batch deliver"), of("storage", "batch commit"),
				of("quota", "yubin.quota.v1.QuotaService/Reserve"), of("quota", "sql "), of("storage", "object put"), of("storage", "sql "))
			c.await(t, "smtp RCPT", of("directory", "yubin.directory.v1.DirectoryService/Resolve"), of("quota", "yubin.quota.v1.QuotaService/Check"))

			w := s.Wire(t, s.IMAPS[0], true)
			w.Expect("^\\* OK ")
			w.Do("a LOGIN "+harness.Address("alice")+` "`+harness.Password+`"`, "^a OK")
			w.Do("b SELECT INBOX", "^b OK")
			w.Do("c FETCH 1 (BODY.PEEK[])", "^c OK")
			w.Do("d LOGOUT", "^d OK")
			c.await(t, "imap FETCH", of("storage", "yubin.storage.v1.StorageService/"), of("storage", "sql "))
			p := s.POP3Client(t, "alice")
			p.Multi("RETR 1")
			p.Do("QUIT")
			c.await(t, "pop3 RETR", of("storage", "yubin.storage.v1.StorageService/"))

			for _, part := range c.all() {
				for _, secret := range []string{"zanzibar", harness.Password, "@"} {
					if strings.Contains(part.text, secret) {
						t.Errorf("%q is in the span %s", secret, part.text)
					}
				}
			}
			exemplar(t, s, delivery[0].trace)
		})
	}
}

// exemplar looks for the trace of a delivery in the times of deliveries.
func exemplar(t *testing.T, s *harness.System, trace string) {
	t.Helper()
	var seen []string
	for _, p := range s.Processes {
		for _, m := range scrape(t, p)["yubin_smtp_delivery_seconds"].GetMetric() {
			for _, b := range m.GetHistogram().GetBucket() {
				for _, l := range b.GetExemplar().GetLabel() {
					seen = append(seen, fmt.Sprintf("%s=%s", l.GetName(), l.GetValue()))
					if l.GetName() == "trace_id" && l.GetValue() == trace {
						return
					}
				}
			}
		}
	}
	t.Errorf("no exemplar of %s, but %v", trace, seen)
}

// TestCollectorThatIsAway: nobody waits for it.
func TestCollectorThatIsAway(t *testing.T) {
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}, Args: []string{"--trace-endpoint=http://" + harness.FreeAddr(t), "--trace-ratio=1"}})
	for i := range 20 {
		s.Deliver(t, "alice", harness.Compose(fmt.Sprint("mail ", i), "hello"))
	}
	if n := s.POP3Client(t, "alice").Count(); n != 20 {
		t.Errorf("%d mails", n)
	}
	s.Stop(t)
}
