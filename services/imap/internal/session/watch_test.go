package session

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestIdleOverTLS: waiting for the client ends for each change and goes on, also where a record of TLS is only half here.
func TestIdleOverTLS(t *testing.T) {
	g := newGateway(t, withTLS(t))
	k := g.connect()
	k.startTLS()
	k.ok("LOGIN alice secret")
	k.ok("SELECT INBOX")
	for round := range 20 {
		k.send("i IDLE\r\n")
		k.until("+ ")
		for i := range 5 {
			g.storage.deliver("INBOX", mail1)
			k.told(fmt.Sprintf("* %d EXISTS", 5*round+i+1))
		}
		for _, octet := range "DONE\r\n" {
			k.send("%c", octet)
		}
		k.until("i OK")
	}
	k.expect("STATUS INBOX (MESSAGES)", "* STATUS INBOX (MESSAGES 100)", "OK")
}

// TestIdleSessionsHaveOneGoroutine: an idle session takes a stack, and not two.
func TestIdleSessionsHaveOneGoroutine(t *testing.T) {
	g := newGateway(t, func(o *Options) { o.Limits.AccountSessions = 1000 })
	g.selected("INBOX").ok("LOGOUT") // starts what is shared
	before := runtime.NumGoroutine()
	const sessions = 100
	idle := make([]*talk, sessions)
	for i := range idle {
		idle[i] = g.selected("INBOX")
		if i%2 == 0 {
			idle[i].ok("NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge))")
			continue
		}
		idle[i].send("i IDLE\r\n")
		idle[i].until("+ ")
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine()-before < sessions+sessions/2 }, time.Minute, time.Millisecond)
	g.storage.deliver("INBOX", mail1)
	for _, k := range idle {
		k.told("* 1 EXISTS")
	}
}
