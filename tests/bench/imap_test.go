package bench

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// filled starts a system in which alice has n mails.
func (r *run) filled(n int) *harness.System {
	s := r.system(0)
	alice(r, s).fill(n, func() { s.Deliver(r, "alice", mail(4<<10)) })
	return s
}

// selectMailbox opens a large mailbox on a first device, for which the gateway has to learn its state, and on a second.
func selectMailbox(r *run) {
	const messages = 20_000
	n := r.size(messages)
	s, limit, t := r.filled(n), newLoopback(r), times{}
	peer := startDovecot(r)
	if peer != nil {
		c := dialSMTP(r, peer.lmtp, true)
		peer.imap(r).fill(n, func() { require.NoError(r, send(c, mail(4<<10), receiver(0))) })
	}
	all := fmt.Sprintf("FETCH 1:%d (FLAGS)", n)
	show := func(name string, device *stream) (octets int) {
		t.take(name, 1, func() {
			t.take(name+"-select", 1, func() { device.do("SELECT INBOX") })
			octets = device.do(all)
		})
		return octets
	}
	devices := [2]*stream{alice(r, s), alice(r, s)}
	var peerDevice *stream
	if peer != nil {
		peerDevice = peer.imap(r)
	}
	r.profile(s)
	for r.more() {
		octets := show("first", devices[0])
		show("second", devices[1])
		t.take("loopback", 1, func() { limit.copy(make([]byte, octets)) })
		for _, device := range devices {
			device.do("UNSELECT") // so that the next round's first is the first
		}
		if peer != nil {
			show("dovecot", peerDevice)
			peerDevice.do("UNSELECT")
		}
	}
	r.report(t.ratio("second", "first"), "time-second-to-first-device")
	r.report(t.ratio("second-select", "first-select"), "time-select-second-to-first-device")
	r.report(t.ratio("second", "loopback"), "time-second-to-loopback")
	if peer != nil {
		r.report(t.ratio("first", "dovecot"), "time-first-to-dovecot")
		r.report(t.ratio("second", "dovecot"), "time-second-to-dovecot")
	}
}

// envelope lists a mailbox as a mail program does. No body may be read for that.
func envelope(r *run) {
	const messages = 1000
	n := r.size(messages)
	s, t := r.filled(n), times{}
	list := func(what string) string { return fmt.Sprintf("FETCH 1:%d (%s)", n, what) }
	device := alice(r, s)
	device.do("SELECT INBOX")
	peer := startDovecot(r)
	var peerDevice *stream
	if peer != nil {
		c := dialSMTP(r, peer.lmtp, true)
		peerDevice = peer.imap(r)
		peerDevice.fill(n, func() { require.NoError(r, send(c, mail(4<<10), receiver(0))) })
		peerDevice.do("SELECT INBOX")
	}
	before, rounds := read(r, s), 0.0
	r.profile(s)
	for r.more() {
		rounds++
		t.take("envelope", n, func() { device.do(list("ENVELOPE")) })
		t.take("flags", n, func() { device.do(list("FLAGS")) })
		if peer != nil {
			t.take("dovecot", n, func() { peerDevice.do(list("ENVELOPE")) })
		}
	}
	after := read(r, s)
	gets := after.since(r, before, objectGets)
	require.Zero(r, gets, "objects read for envelopes")
	r.report(gets, "object-reads")
	r.report(after.since(r, before, transactions)/rounds, "sql-transactions/listing")
	r.report(t.ratio("envelope", "flags"), "time-envelope-to-flags")
	if peer != nil {
		r.report(t.ratio("envelope", "dovecot"), "time-envelope-to-dovecot")
	}
}

// noop asks for news where there is none, which must not cost the database anything.
func noop(r *run) {
	s, limit, t := r.filled(20), newLoopback(r), times{}
	device, each := alice(r, s), r.size(500)
	device.do("SELECT INBOX")
	before, rounds := read(r, s), 0
	for r.more() {
		rounds++
		t.take("noop", each, func() {
			for range each {
				device.do("NOOP")
			}
		})
		t.take("echo", each, func() {
			for range each {
				limit.echo([]byte("a1 NOOP\r\n"))
			}
		})
	}
	r.report(read(r, s).since(r, before, transactions)/float64(rounds*each), "sql-transactions/noop")
	r.report(t.ratio("noop", "echo"), "time-noop-to-loopback-echo")
}

// idle compares when a device learns of a mail with when its sender learns that it is delivered; both from the beginning of the delivery.
func idle(r *run) {
	s, t := r.system(0), times{}
	device, sender, message := alice(r, s), dialSMTP(r, s.SMTP, false), mail(4<<10)
	device.do("SELECT INBOX")
	device.send("i IDLE\r\n")
	device.until("idling")
	for r.more() {
		start, told := time.Now(), make(chan time.Time, 1)
		go func() {
			device.until(" EXISTS")
			told <- time.Now()
		}()
		require.NoError(r, send(sender, message, harness.Address("alice")))
		t["delivered"] = append(t["delivered"], time.Since(start).Seconds())
		t["told"] = append(t["told"], (<-told).Sub(start).Seconds())
	}
	r.report(t.ratio("told", "delivered"), "time-exists-to-delivered")
}

// memory measures what a session in IDLE takes, on a process that has served nothing before.
func memory(r *run) {
	// The memory that argon2 leaves to the garbage collector would hide the sessions'.
	s, found := r.system(0, "--directory-argon2-memory", "1MiB"), map[string][]float64{}
	for r.more() {
		for name, addr := range map[string]string{"plain": s.IMAP[0], "tls": s.IMAPS[0]} {
			s.Stop(r)
			s.Restart(r)
			found[name] = append(found[name], perSession(r, s, addr, name == "tls"))
		}
	}
	for name, values := range found {
		r.report(median(values)/1000, "kB/session-"+name)
	}
}

func perSession(r *run, s *harness.System, addr string, encrypted bool) (octets float64) {
	open := func() *stream {
		conn, err := net.Dial("tcp", addr)
		require.NoError(r, err)
		if encrypted {
			conn = tls.Client(conn, s.TLS(r))
		}
		c := newStream(r, conn)
		c.do(fmt.Sprintf("LOGIN %s %q", harness.Address("alice"), harness.Password))
		c.do("SELECT INBOX")
		c.send("i IDLE\r\n")
		c.until("idling")
		return c
	}
	clients := []*stream{open()} // the first pays for what all share
	before, n := read(r, s).sum(r, residentMemory...), r.size(500)
	for range n {
		clients = append(clients, open())
	}
	used := read(r, s).sum(r, residentMemory...) - before
	for _, c := range clients {
		require.NoError(r, c.conn.Close())
	}
	return used / float64(n)
}
