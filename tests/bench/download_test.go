package bench

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// download compares a large message over POP3 and IMAP with a copy of as many octets over loopback.
func download(r *run) {
	s, limit, t := r.system(0), newLoopback(r), times{}
	message := mail(r.size(20_000_000))
	s.Deliver(r, "alice", message)
	maildrop, device := pop3(r, s), alice(r, s)
	device.do("SELECT INBOX")
	work := map[string][]float64{}
	counted := func(name string, fetch func() int) {
		var octets int
		before := read(r, s)
		t.take(name, 1, func() { octets = fetch() })
		after := read(r, s)
		require.Greater(r, octets, len(message), "the message and its trace fields")
		work[name+"-object-reads"] = append(work[name+"-object-reads"], after.since(r, before, objectGets))
		work[name+"-bytes-read/byte"] = append(work[name+"-bytes-read/byte"], after.since(r, before, objectBytesRead)/float64(octets))
	}
	r.profile(s)
	for r.more() {
		t.take("loopback", 1, func() { limit.copy(message) })
		counted("pop3", maildrop.retrieve)
		counted("imap", func() int { return device.do("FETCH 1 (BODY.PEEK[])") })
	}
	r.report(t.ratio("pop3", "loopback"), "time-pop3-to-loopback")
	r.report(t.ratio("imap", "loopback"), "time-imap-to-loopback")
	for name, values := range work {
		r.report(median(values), name)
	}
}

// login compares a password that has to be checked with one that was checked lately.
func login(r *run) {
	s, t, command := r.system(0), times{}, fmt.Sprintf("LOGIN %s %q", harness.Address("alice"), harness.Password)
	for r.more() {
		s.Stop(r) // it forgets what it has checked
		s.Restart(r)
		for _, name := range []string{"checked", "remembered", "remembered", "remembered"} {
			c := dial(r, s.IMAP[0])
			t.take(name, 1, func() { c.do(command) })
			require.NoError(r, c.conn.Close())
		}
	}
	r.report(t.ratio("checked", "remembered"), "time-checked-to-remembered")
}
