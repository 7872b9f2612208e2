package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// TestInProgress: RFC 9585, its example of a search that takes long.
func TestInProgress(t *testing.T) {
	g := newGateway(t, func(o *Options) { o.Limits.Progress = time.Millisecond })
	g.storage.deliver("INBOX", mail1)
	k := g.login()
	if lines := k.ok("CAPABILITY"); !strings.Contains(lines[0], " INPROGRESS") {
		t.Errorf("CAPABILITY: %q", lines)
	}
	k.ok("SELECT INBOX")
	for _, c := range []struct{ tag, command, progress, want string }{
		{"A001", "SEARCH TEXT some", `* OK [INPROGRESS ("A001" NIL NIL)] still working`, "* SEARCH"},
		{"A002", "COPY 1 Sent", `* OK [INPROGRESS ("A002" NIL NIL)] still working`, "A002 OK [COPYUID"},
		{"A[3]", "SEARCH TEXT some", "* OK [INPROGRESS (NIL NIL NIL)] still working", "* SEARCH"},
	} {
		g.storage.mu.Lock() // storage does not answer
		k.send("%s %s\r\n", c.tag, c.command)
		for range 3 {
			if line := k.line(); line != c.progress {
				t.Fatalf("%s: %q", c.command, line)
			}
		}
		g.storage.mu.Unlock()
		for line := c.progress; line == c.progress || !strings.HasPrefix(line, c.tag); {
			if line = k.line(); line != c.progress && !strings.HasPrefix(line, c.want) && !strings.HasPrefix(line, c.tag+" OK") {
				t.Fatalf("%s: %q", c.command, line)
			}
		}
	}
}

// TestProgressOfSorting: how many messages are known, of how many.
func TestProgressOfSorting(t *testing.T) {
	g := newGateway(t, func(o *Options) { o.Limits.Progress = time.Nanosecond })
	const total = 2*fetchBatch + 1
	for range total {
		g.storage.deliver("INBOX", "Subject: x\r\n\r\n")
	}
	k := g.selected("INBOX")
	untagged := k.ok("SORT (SUBJECT) UTF-8 ALL")
	want := []string{fmt.Sprintf(`("a%d" %d %d)`, k.n, fetchBatch, total), fmt.Sprintf(`("a%d" %d %d)`, k.n, 2*fetchBatch, total)} // and not when all is done
	if len(untagged) != len(want)+1 {
		t.Errorf("%d responses", len(untagged))
	}
	for i, w := range want {
		if untagged[i] != "* OK [INPROGRESS "+w+"] still working" {
			t.Errorf("got %q, want %s", untagged[i], w)
		}
	}
}

// TestProgressOfSearching: what storage tells.
func TestProgressOfSearching(t *testing.T) {
	g := newGateway(t, func(o *Options) { o.Limits.Progress = time.Millisecond })
	g.storage.searching = make(chan *storagev1.SearchStreamResponse_Progress)
	g.storage.deliver("INBOX", mail1)
	k := g.selected("INBOX")
	k.send("A1 SEARCH TEXT some\r\n")
	for _, done := range []uint64{0, 7, 30} {
		g.storage.searching <- &storagev1.SearchStreamResponse_Progress{Done: done, Total: 30}
		for want := fmt.Sprintf(`* OK [INPROGRESS ("A1" %d 30)] still working`, min(done, 29)); ; {
			if line := k.line(); line == want {
				break
			} else if !strings.HasPrefix(line, "* OK [INPROGRESS ") {
				t.Fatalf("got %q, want %q", line, want)
			}
		}
	}
	close(g.storage.searching)
	for line := ""; line != "* SEARCH"; {
		if line = k.line(); line != "* SEARCH" && !strings.HasPrefix(line, "* OK [INPROGRESS ") {
			t.Fatalf("got %q", line)
		}
	}
}
