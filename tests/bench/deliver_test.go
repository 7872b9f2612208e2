package bench

import (
	"path/filepath"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// recipients compares a mail to one with the same mail to a hundred, in time and on disk.
func recipients(r *run) {
	hundred := r.size(100)
	s := r.system(hundred)
	everyone := make([]string, hundred)
	for i := range everyone {
		everyone[i] = receiver(i)
	}
	c, message, t := dialSMTP(r, s.SMTP), mail(100<<10), times{}
	r.profile(s)
	for r.more() {
		t.take("one", 1, func() { require.NoError(r, send(c, message, everyone[0])) })
		t.take("hundred", 1, func() { require.NoError(r, send(c, message, everyone...)) })
	}
	require.NoError(r, c.Quit())
	r.report(t.ratio("hundred", "one"), "time-100-to-1-recipients")

	grown := func(to []string) float64 {
		before := restedDisk(r, s)
		c := dialSMTP(r, s.SMTP)
		for range r.size(20) {
			require.NoError(r, send(c, mail(100<<10), to...))
		}
		require.NoError(r, c.Quit())
		return restedDisk(r, s) - before
	}
	r.report(grown(everyone)/grown(everyone[:1]), "disk-100-to-1-recipients")
}

// restedDisk gives the octets on disk after the databases have taken in their logs.
func restedDisk(r *run, s *harness.System) float64 {
	s.Stop(r)
	defer s.Restart(r)
	return float64(diskUsage(r, filepath.Join(s.Dir, "data")))
}

// appendToDeliver compares IMAP APPEND with a delivery over SMTP.
func appendToDeliver(r *run) {
	s := r.system(1)
	message, each, t := mail(4<<10), r.size(20), times{}
	sender, client := dialSMTP(r, s.SMTP), alice(r, s)
	r.profile(s)
	for r.more() {
		t.take("deliver", each, func() {
			for range each {
				require.NoError(r, send(sender, message, receiver(0)))
			}
		})
		t.take("append", each, func() {
			for range each {
				client.append(message)
			}
		})
	}
	r.report(t.ratio("append", "deliver"), "time-append-to-deliver")
}
