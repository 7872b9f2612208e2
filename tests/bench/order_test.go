package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// sortAndThread puts a large mailbox in order, on the embedded stores and on PostgreSQL and MinIO, and compares that with a FETCH of the same envelopes: what is
// beyond is the comparing, what is below is what need not be sent to the client. SORT by what the view has is compared with a FETCH of flags.
func sortAndThread(r *run) {
	const messages = 100_000
	n := r.size(r.size(messages)) // in a test there is little to see in more
	shapes := []harness.Options{{}, {Shape: harness.Production, ProductionOptions: harness.ProductionOptions{Replicas: 1}}}
	names := []string{"embedded", "production"}
	if r.small {
		shapes = shapes[:1]
	}
	devices, all := make([]*stream, len(shapes)), make([]times, len(shapes))
	for i, options := range shapes {
		options.Accounts, options.Args = []string{"alice"}, []string{"--imap-insecure-auth=true", "--admin-pprof=true"}
		h := harness.Start(r, options)
		devices[i], all[i] = alice(r, h), times{}
		devices[i].fillThreads(n)
		devices[i].do("SELECT INBOX")
		for !r.small && pending(r, h) > 0 { // what indexes would compete
			time.Sleep(100 * time.Millisecond)
		}
		if i == 0 {
			r.profile(h)
		}
	}
	for r.more() {
		for i, device := range devices {
			for _, c := range [][2]string{
				{"subject", "SORT (SUBJECT) UTF-8 ALL"},
				{"thread", "THREAD REFERENCES UTF-8 ALL"},
				{"envelopes", fmt.Sprintf("FETCH 1:%d (ENVELOPE)", n)},
				{"arrival", "SORT (REVERSE ARRIVAL) UTF-8 ALL"},
				{"flags", fmt.Sprintf("FETCH 1:%d (FLAGS)", n)},
			} {
				all[i].take(c[0], 1, func() { device.sift(c[1]) })
			}
		}
	}
	for i, t := range all {
		r.Logf("%s, %d messages: SORT (SUBJECT) %.2f s, THREAD REFERENCES %.2f s, FETCH of envelopes %.2f s",
			names[i], n, median(t["subject"]), median(t["thread"]), median(t["envelopes"]))
		r.report(t.ratio("subject", "envelopes"), names[i]+"-time-sort-to-fetch-envelopes")
		r.report(t.ratio("thread", "envelopes"), names[i]+"-time-thread-to-fetch-envelopes")
		r.report(t.ratio("arrival", "flags"), names[i]+"-time-sort-arrival-to-fetch-flags")
	}
}

// pending are the messages that are yet to be indexed.
func pending(r *run, h *harness.System) (n float64) {
	for _, p := range h.Processes {
		n += counters(p.Metrics(r)).sum(r, "yubin_storage_index_pending_messages")
	}
	return n
}

// sift is do of a command whose answer may be one long line.
func (s *stream) sift(command string) {
	s.r.Helper()
	s.tag++
	require.NoError(s.r, s.conn.SetDeadline(time.Now().Add(patience)))
	s.send(fmt.Sprintf("b%d %s\r\n", s.tag, command))
	end := fmt.Appendf(nil, "b%d ", s.tag)
	for fresh := true; ; {
		line, err := s.br.ReadSlice('\n')
		if fresh && bytes.HasPrefix(line, end) {
			require.True(s.r, bytes.HasPrefix(line[len(end):], []byte("OK")), "%.60s: %s", command, line)
			return
		}
		if fresh = err == nil; !fresh {
			require.ErrorIs(s.r, err, bufio.ErrBufferFull)
		}
	}
}

// fillThreads appends small mails that differ, many at a time (RFC 3502): threads of five.
func (s *stream) fillThreads(n int) {
	const batch, thread = 500, 5
	for first := 0; first < n; first += batch {
		var all strings.Builder
		s.tag++
		fmt.Fprintf(&all, "a%d APPEND INBOX", s.tag)
		for i := first; i < min(n, first+batch); i++ {
			text := fmt.Sprintf("From: Sender %d <s%d@elsewhere.example>\r\nTo: alice@example.test\r\nDate: %d Mar 2026 12:00:%02d +0000\r\nMessage-ID: <%d@elsewhere.example>\r\n",
				i%997, i%997, 1+i*7%28, i%60, i)
			if i%thread == 0 {
				text += fmt.Sprintf("Subject: report %x of the year\r\n", i*7919%n)
			} else {
				text += fmt.Sprintf("References: <%d@elsewhere.example> <%d@elsewhere.example>\r\nSubject: Re: report %x of the year\r\n", i-i%thread, i-1, (i-i%thread)*7919%n)
			}
			text += fmt.Sprintf("\r\n%s\r\n", strings.Repeat("Please find what you asked for. ", 8))
			fmt.Fprintf(&all, " {%d+}\r\n%s", len(text), text)
		}
		require.NoError(s.r, s.conn.SetDeadline(time.Now().Add(patience)))
		s.send(all.String() + "\r\n")
		s.until("APPEND completed")
	}
}
