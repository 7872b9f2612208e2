package session

import (
	"bytes"
	"fmt"
	"net"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// resting counts the sessions of all tests that wait on a goroutine which does nothing else, and others are those that wait on the stack of a command.
func resting(t *testing.T) (resting, others int) {
	t.Helper()
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 2); err != nil {
		t.Fatal(err)
	}
	for stack := range strings.SplitSeq(profile.String(), "\n\n") {
		switch {
		case strings.Contains(stack, "session.(*timedConn).rest("):
			resting++
		case strings.Contains(stack, "session.(*session).turn("):
			others++
		}
	}
	return resting, others
}

// TestSilentSessionsRest: a session that waits has nothing of a command's stack, whatever it waits for.
func TestSilentSessionsRest(t *testing.T) {
	g := newGateway(t, withTLS(t))
	var all []*talk
	add := func(k *talk, more string) {
		k.send("%s", more)
		all = append(all, k)
	}
	secure := func() *talk {
		k := g.connect()
		k.startTLS()
		return k
	}
	add(g.connect(), "")
	add(secure(), "")
	idle := secure()
	idle.ok("LOGIN alice secret")
	add(idle, "i IDLE\r\n")
	selected := secure()
	selected.ok("LOGIN alice secret")
	selected.ok("SELECT INBOX")
	add(selected, "i IDLE\r\n")
	selected.until("+ ")
	notified := secure()
	notified.ok("LOGIN alice secret")
	notified.ok("NOTIFY SET (PERSONAL (MessageNew MessageExpunge))")
	add(notified, "")
	deadline := time.Now().Add(time.Minute)
	for n, others := resting(t); n < len(all) || others > 0; n, others = resting(t) {
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions rest of %d, %d wait otherwise", n, len(all), others)
		}
		time.Sleep(time.Millisecond)
	}
	idle.until("+ ")
	for _, k := range []*talk{idle, selected} {
		k.send("DONE\r\n")
		k.until("i OK")
	}
	for _, k := range all {
		k.ok("NOOP")
	}
}

// TestRestSeesWhatTLSHolds: commands in records of their own that come at once are all answered, though the socket has nothing more after the first was read.
func TestRestSeesWhatTLSHolds(t *testing.T) {
	g := newGateway(t, withTLS(t))
	k := g.connect()
	gather := &gathering{Conn: k.conn}
	k.conn = gather
	k.startTLS()
	gather.hold()
	const commands = 5
	for i := range commands {
		k.send("n%d NOOP\r\n", i)
	}
	gather.release(t)
	for i := range commands {
		k.until(fmt.Sprintf("n%d OK", i))
	}
}

// gathering is a connection that sends at once what was written in several pieces.
type gathering struct {
	net.Conn
	held *bytes.Buffer
}

func (g *gathering) hold() { g.held = &bytes.Buffer{} }

func (g *gathering) release(t *testing.T) {
	t.Helper()
	if _, err := g.Conn.Write(g.held.Bytes()); err != nil {
		t.Fatal(err)
	}
	g.held = nil
}

// Write implements net.Conn.
func (g *gathering) Write(p []byte) (int, error) {
	if g.held != nil {
		return g.held.Write(p)
	}
	return g.Conn.Write(p)
}
