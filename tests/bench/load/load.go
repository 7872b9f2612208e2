// Package load drives a mail server, of whatever make, and counts what it gets done: deliveries over SMTP and LMTP, downloads over IMAP and POP3,
// list views, flag changes, idle sessions. Its clients look at no more than they must, so that they take little of a processor that they share with the server.
package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"
)

// TLSMode is how a client comes to TLS.
type TLSMode string

// The modes.
const (
	Plain    TLSMode = "none"
	Implicit TLSMode = "implicit" // RFC 8314
	StartTLS TLSMode = "starttls"
)

// Target is a server under load. An address is host:port; one that is empty belongs to a protocol that is not measured.
type Target struct {
	SMTP, LMTP, IMAP, POP3 string
	// TLS is for IMAP and POP3. Deliveries are in the clear, as between servers on one network.
	TLS       TLSMode
	TLSConfig *tls.Config
	// Recipients take the deliveries in turn.
	Recipients []string
	// Reader's INBOX is read, listed and flagged. It has at least one message.
	Reader Login
	// Idlers are the accounts of idle sessions in turn; without any it is Reader.
	Idlers []Login
	// Settle waits until all that was accepted is in the mailboxes. A server that accepts only what it has delivered needs none.
	Settle func(context.Context) error
}

// Login is an account and its password.
type Login struct{ Name, Password string }

// Result is what was done in a time.
type Result struct {
	// Count is in the workload's unit; Bytes are octets of messages.
	Count, Bytes int64
	// Elapsed is until the last was done: for deliveries, in its mailbox.
	Elapsed time.Duration
	// Accepted is until the server had taken responsibility for the last delivery; equal to Elapsed unless the target settles later.
	Accepted time.Duration
}

// Rate is the count for each second.
func (r Result) Rate() float64 { return float64(r.Count) / r.Elapsed.Seconds() }

// AcceptedRate is the count for each second in which the server was accepting.
func (r Result) AcceptedRate() float64 { return float64(r.Count) / r.Accepted.Seconds() }

// Workload is one kind of load.
type Workload struct {
	Name string
	// Unit is what is counted.
	Unit string
	// Run puts the load on until the limit, then ends what has begun.
	Run func(context.Context, *Target, Limit) (Result, error)
}

// Limit ends a workload: after a time, or after a number of turns on each connection. The one that is zero does not count.
type Limit struct {
	For   time.Duration
	Turns int
}

// Workloads are all of them. The reader's mailbox should have list messages or more.
func Workloads(list int) []Workload {
	var all []Workload
	for _, protocol := range []string{SMTP, LMTP} {
		for _, size := range []int{4 << 10, 100 << 10} {
			for _, connections := range []int{1, 8, 32} {
				all = append(all, Deliver(protocol, connections, size))
			}
		}
	}
	return append(all, IMAPDownload(), IMAPOpen(), IMAPList(list), IMAPFlags(), POP3Download())
}

// turns runs a client on each connection: turn again and again until the limit, all connections at once. The clock runs from when all have been opened.
func turns[C interface{ close() }](ctx context.Context, connections int, limit Limit, open func(i int) (C, error), turn func(client C, i, n int) (count, bytes int64, err error)) (Result, error) {
	clients := make([]C, 0, connections)
	defer func() {
		for _, c := range clients {
			c.close()
		}
	}()
	for i := range connections {
		c, err := open(i)
		if err != nil {
			return Result{}, fmt.Errorf("open connection %d: %w", i, err)
		}
		clients = append(clients, c)
	}
	var (
		result Result
		failed error
		mu     sync.Mutex
		wg     sync.WaitGroup
	)
	start := time.Now()
	for i, c := range clients {
		wg.Go(func() {
			var count, bytes int64
			var err error
			for n := 0; err == nil && ctx.Err() == nil && !limit.reached(start, n); n++ {
				var more, octets int64
				more, octets, err = turn(c, i, n)
				count, bytes = count+more, bytes+octets
			}
			mu.Lock()
			defer mu.Unlock()
			result.Count, result.Bytes = result.Count+count, result.Bytes+bytes
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	result.Elapsed = time.Since(start)
	result.Accepted = result.Elapsed
	return result, errors.Join(failed, ctx.Err())
}

func (l Limit) reached(start time.Time, turns int) bool {
	return l.Turns > 0 && turns >= l.Turns || l.For > 0 && time.Since(start) >= l.For
}
