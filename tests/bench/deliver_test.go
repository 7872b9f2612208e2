package bench

import (
	"path/filepath"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// deliver compares one connection with many, both with a disk that syncs a file for each mail, and with Dovecot over LMTP if it is installed.
func deliver(r *run) {
	many := r.size(64)
	s := r.system(many)
	message, each := mail(4<<10), r.size(20)
	limit := r.TempDir()
	one, all := sessions(r, s.SMTP, false, 1), sessions(r, s.SMTP, false, many)
	lmtpOne, lmtpAll := sessions(r, s.LMTP, true, 1), sessions(r, s.LMTP, true, many)
	peer := startDovecot(r)
	var peerOne, peerAll []*smtp.Client
	if peer != nil {
		peerOne, peerAll = sessions(r, peer.lmtp, true, 1), sessions(r, peer.lmtp, true, many)
	}
	t, cpu, work := times{}, times{}, map[string][]float64{}
	counted := func(name string, clients []*smtp.Client) {
		before, mails := read(r, s), len(clients)*each
		t.take(name, mails, func() { sendEach(r, clients, each, message) })
		after := read(r, s)
		work[name+"-puts/mail"] = append(work[name+"-puts/mail"], after.since(r, before, objectPuts)/float64(mails))
		work[name+"-sql-transactions/mail"] = append(work[name+"-sql-transactions/mail"], after.since(r, before, transactions)/float64(mails))
		cpu[name] = append(cpu[name], max(after.since(r, before, processor), tick)/float64(mails))
	}
	sendEach(r, all, 1, message) // an account's first mail makes its mailboxes
	r.profile(s)
	for r.more() {
		counted("1-connection", one)
		counted("64-connections", all)
		t.take("fsync-1", each, func() { syncEach(r, limit, 1, each, message) })
		t.take("fsync-64", many*each, func() { syncEach(r, limit, many, each, message) })
		if peer != nil {
			t.take("lmtp-1", each, func() { sendEach(r, lmtpOne, each, message) })
			t.take("lmtp-64", many*each, func() { sendEach(r, lmtpAll, each, message) })
			t.take("dovecot-lmtp-1", each, func() { sendEach(r, peerOne, each, message) })
			t.take("dovecot-lmtp-64", many*each, func() { sendEach(r, peerAll, each, message) })
		}
	}
	r.report(t.ratio("1-connection", "64-connections"), "mails-per-s-64-to-1-connections")
	r.report(cpu.ratio("1-connection", "64-connections"), "mails-per-cpu-s-64-to-1-connections")
	r.report(t.ratio("fsync-1", "1-connection"), "mails-to-fsyncs-1")
	r.report(t.ratio("fsync-64", "64-connections"), "mails-to-fsyncs-64")
	r.report(t.ratio("fsync-1", "64-connections"), "mails-64-to-fsyncs-1")
	if peer != nil {
		r.report(t.ratio("dovecot-lmtp-1", "lmtp-1"), "mails-per-s-to-dovecot-1")
		r.report(t.ratio("dovecot-lmtp-64", "lmtp-64"), "mails-per-s-to-dovecot-64")
	}
	for name, values := range work {
		r.report(median(values), name)
	}
}

func sessions(r *run, addr string, lmtp bool, n int) []*smtp.Client {
	out := make([]*smtp.Client, n)
	for i := range out {
		out[i] = dialSMTP(r, addr, lmtp)
	}
	return out
}

// sendEach sends mails over all sessions at once, each to its own account.
func sendEach(r *run, clients []*smtp.Client, each int, message []byte) {
	parallel(r, len(clients), func(i int) error {
		for range each {
			if err := send(clients[i], message, receiver(i)); err != nil {
				return err
			}
		}
		return nil
	})
}

func syncEach(r *run, dir string, writers, each int, message []byte) {
	parallel(r, writers, func(int) error {
		for range each {
			if err := writeSynced(dir, message); err != nil {
				return err
			}
		}
		return nil
	})
}

// recipients compares a mail to one with the same mail to a hundred, in time and on disk.
func recipients(r *run) {
	hundred := r.size(100)
	s := r.system(hundred)
	everyone := make([]string, hundred)
	for i := range everyone {
		everyone[i] = receiver(i)
	}
	c, message, t := dialSMTP(r, s.SMTP, false), mail(100<<10), times{}
	r.profile(s)
	for r.more() {
		t.take("one", 1, func() { require.NoError(r, send(c, message, everyone[0])) })
		t.take("hundred", 1, func() { require.NoError(r, send(c, message, everyone...)) })
	}
	require.NoError(r, c.Quit())
	r.report(t.ratio("hundred", "one"), "time-100-to-1-recipients")

	grown := func(to []string) float64 {
		before := restedDisk(r, s)
		c := dialSMTP(r, s.SMTP, false)
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
	return diskUsage(r, filepath.Join(s.Dir, "data"))
}

// appendToDeliver compares IMAP APPEND with a delivery over SMTP.
func appendToDeliver(r *run) {
	s := r.system(1)
	message, each, t := mail(4<<10), r.size(20), times{}
	one, client := sessions(r, s.SMTP, false, 1), alice(r, s)
	r.profile(s)
	for r.more() {
		t.take("deliver", each, func() { sendEach(r, one, each, message) })
		t.take("append", each, func() {
			for range each {
				client.append(message)
			}
		})
	}
	r.report(t.ratio("append", "deliver"), "time-append-to-deliver")
}
