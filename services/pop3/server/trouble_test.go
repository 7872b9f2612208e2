package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

func TestMaildropInUse(t *testing.T) {
	w := newWorld(t, newStorage(first))
	holder := w.login()
	other := w.connect()
	other.ok("USER alice")
	other.fails("PASS "+password, "[IN-USE]")
	// The lease dies with the session that held it, however it ends.
	_ = holder.Close()
	<-w.storage.freed
	other.ok("USER alice")
	other.ok("PASS " + password)
}

func TestNothingIsDeletedWithoutQuit(t *testing.T) {
	w := newWorld(t, newStorage(first, third))
	c := w.login()
	c.ok("DELE 1")
	_ = c.Close()
	<-w.storage.freed
	if got := w.storage.left(); len(got) != 2 || len(w.storage.commits) != 0 {
		t.Errorf("left %v", got)
	}
}

func TestCommitFails(t *testing.T) {
	for name, err := range map[string]error{
		"unavailable": down(),
		"lease lost":  fault.New(codes.Aborted, rpcv1.Reason_REASON_LEASE_LOST, "lost"),
		"broken":      errors.New("broken"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, newStorage(first, third))
			w.storage.onCommit = func() error { return err }
			c := w.login()
			c.ok("DELE 1")
			c.fails("QUIT", "[SYS/TEMP]")
			c.closed()
			if got := w.storage.left(); len(got) != 2 {
				t.Errorf("left %v", got)
			}
		})
	}
}

func TestCommitAnswerIsLost(t *testing.T) {
	w := newWorld(t, newStorage(first, third))
	w.storage.committed = func() error {
		w.storage.committed = nil
		return down()
	}
	c := w.login()
	c.ok("DELE 1")
	c.ok("QUIT")
	if got := w.storage.left(); !slices.Equal(got, []uint32{3}) || len(w.storage.commits) != 2 {
		t.Errorf("left %v after %d commits", got, len(w.storage.commits))
	}
}

func TestLeaseIsLost(t *testing.T) {
	w := newWorld(t, newStorage(first))
	c := w.login()
	c.ok("DELE 1")
	w.storage.endLease(fault.New(codes.Aborted, rpcv1.Reason_REASON_LEASE_LOST, "lost"))
	if line := c.line(); !strings.HasPrefix(line, "-ERR [SYS/TEMP] the maildrop was lost") {
		t.Errorf("got %q", line)
	}
	c.closed()
	if got := w.storage.left(); len(got) != 1 {
		t.Errorf("left %v", got)
	}
}

func TestSessionGoesOnWhenItsReplicaOfStorageIsLost(t *testing.T) {
	for name, lost := range map[string]error{"leaving": down(), "dead": status.Error(codes.Unavailable, "connection reset by peer")} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, newStorage(first, third))
			c := w.login()
			<-w.storage.opened
			c.ok("DELE 1")
			for range 3 {
				before := w.storage.current()
				w.storage.endLease(lost)
				if previous := <-w.storage.opened; previous != before {
					t.Errorf("the lease %q was given up, want %q", previous, before)
				}
			}
			c.ok("RETR 2")
			c.lines()
			c.ok("QUIT")
			if got := w.storage.left(); !slices.Equal(got, []uint32{3}) {
				t.Errorf("left %v", got)
			}
		})
	}
}

func TestDownloadGoesOnWhenItsReplicaOfStorageIsLost(t *testing.T) {
	w := newWorld(t, newStorage(first))
	cuts := 0
	w.storage.onRead = func(sent int) error {
		if sent == chunkSize {
			cuts++
			return status.Error(codes.Unavailable, "connection reset by peer")
		}
		return nil
	}
	c := w.login()
	c.ok("RETR 1")
	if got := strings.Join(c.lines(), "\r\n") + "\r\n"; got != first || cuts < 2 {
		t.Errorf("got %q after %d cuts", got, cuts)
	}
	c.ok("QUIT")
}

func TestStorageIsDown(t *testing.T) {
	w := newWorld(t, newStorage(first))
	try := func(code string) {
		t.Helper()
		c := w.connect()
		c.ok("USER alice")
		c.fails("PASS "+password, code)
		c.ok("CAPA")
		c.lines()
		c.ok("QUIT")
	}
	w.storage.onOpen = down
	try("[SYS/TEMP]")
	w.storage.onOpen = func() error {
		return fault.New(codes.NotFound, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND, "no account")
	}
	try("[SYS/PERM]")
	w.storage.onOpen, w.storage.onSync = nil, down
	try("[SYS/TEMP]")
	<-w.storage.freed // a lease without a list is given back
}

func TestRetrieveFails(t *testing.T) {
	w := newWorld(t, newStorage(first, second))
	c := w.login()
	w.storage.onRead = func(int) error { return down() }
	c.fails("RETR 1", "[SYS/TEMP]")
	w.storage.onRead = func(int) error {
		return fault.New(codes.DataLoss, rpcv1.Reason_REASON_CORRUPT, "checksum")
	}
	c.fails("RETR 1", "[SYS/PERM]")
	c.fails("TOP 1 1", "[SYS/PERM]")
	c.ok("TOP 1 0")
	c.lines()
	// Another client expunges a message.
	w.storage.mu.Lock()
	delete(w.storage.messages, 3)
	w.storage.mu.Unlock()
	c.fails("RETR 2", "message 2 is no longer there")
	c.fails("TOP 2 0", "message 2 is no longer there")

	// In the middle of a message only the missing end can tell.
	w.storage.onRead = func(sent int) error {
		if sent >= 2*chunkSize {
			return down()
		}
		return nil
	}
	c.ok("DELE 2")
	c.ok("RETR 1")
	rest, err := io.ReadAll(c.r)
	if err != nil || !strings.HasPrefix(first, string(rest)) || strings.HasSuffix(string(rest), "\r\n.\r\n") {
		t.Errorf("got %q, %v", rest, err)
	}
	if len(w.storage.commits) != 0 {
		t.Error("deletions of a session that broke off were committed")
	}
}

func TestSilentClient(t *testing.T) {
	w := newWorld(t, newStorage(first), "--pop3-idle-timeout=50ms")
	c := w.connect()
	c.send("CAP") // half a command is silence too
	c.want("-ERR silent for too long, nothing was deleted")
	c.closed()
}

func TestClientThatDoesNotRead(t *testing.T) {
	w := newWorld(t, newStorage(strings.Repeat("x", 1<<20)), "--pop3-write-timeout=50ms")
	c := w.login()
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok {
		t.Fatal("no TCP connection")
	}
	if err := tcp.SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	for range 64 {
		if _, err := io.WriteString(tcp, "RETR 1\r\n"); err != nil {
			break // the server has given up already
		}
	}
	<-w.storage.freed
}

func TestDrain(t *testing.T) {
	w := newWorld(t, newStorage(first, third))
	idle := w.login()
	idle.ok("DELE 1")
	before := w.connect()
	exchange := w.connect()
	exchange.send("AUTH PLAIN\r\n")
	exchange.want("+ ")
	w.stop()
	for _, c := range []*client{idle, before, exchange} {
		if line := c.line(); !strings.HasPrefix(line, "-ERR [SYS/TEMP] server is going down") {
			t.Errorf("got %q", line)
		}
		c.closed()
	}
	<-w.stopped
	if got := w.storage.left(); len(got) != 2 {
		t.Errorf("left %v", got)
	}
}

// A command that runs when the server stops is finished.
func TestDrainDuringCommand(t *testing.T) {
	w := newWorld(t, newStorage(first, third))
	reached, resume := make(chan struct{}), make(chan struct{})
	w.storage.onRead = func(sent int) error {
		if sent == 2*chunkSize {
			close(reached)
			<-resume
		}
		return nil
	}
	c := w.login()
	c.send("RETR 1\r\n")
	<-reached
	w.stop()
	for w.srv.gateway.Sessions.Len() > 0 {
		if _, err := net.Dial("tcp", w.srv.Addr("pop3").String()); err != nil {
			break // the listener is closed, the session still there
		}
	}
	close(resume)
	c.want(fmt.Sprintf("+OK %d octets", len(first)))
	if got := strings.Join(c.lines(), "\r\n") + "\r\n"; got != first {
		t.Errorf("got %q", got)
	}
	if line := c.line(); !strings.HasPrefix(line, "-ERR [SYS/TEMP]") {
		t.Errorf("got %q", line)
	}
	c.closed()
}
