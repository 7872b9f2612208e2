package bench

import (
	"fmt"
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
	all := fmt.Sprintf("FETCH 1:%d (FLAGS)", n)
	show := func(name string, device *stream) (octets int) {
		t.take(name, 1, func() {
			t.take(name+"-select", 1, func() { device.do("SELECT INBOX") })
			octets = device.do(all)
		})
		return octets
	}
	devices := [2]*stream{alice(r, s), alice(r, s)}
	r.profile(s)
	for r.more() {
		octets := show("first", devices[0])
		show("second", devices[1])
		t.take("loopback", 1, func() { limit.copy(make([]byte, octets)) })
		for _, device := range devices {
			device.do("UNSELECT") // so that the next round's first is the first
		}
	}
	r.report(t.ratio("second", "first"), "time-second-to-first-device")
	r.report(t.ratio("second-select", "first-select"), "time-select-second-to-first-device")
	r.report(t.ratio("second", "loopback"), "time-second-to-loopback")
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
	device, sender, message := alice(r, s), dialSMTP(r, s.SMTP), mail(4<<10)
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
