package session

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/listen"
	"github.com/yubin-mail/yubin/pkg/sasl"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// Limits of sessions. All must be positive.
type Limits struct {
	// LoginTimeout is how long a client may take to log in, Idle how long it may be silent afterwards (RFC 9051
	// section 5.4: at least 30 minutes), Command how long one command may take to arrive, Stall how long a client that
	// sends a command or a message may pause, and Write how long one write may take.
	LoginTimeout, Idle, Command, Stall, Write time.Duration
	// RPC bounds one call to another service; Bulk one that searches or changes many messages.
	RPC, Bulk time.Duration
	// Progress is how often a client that waits for one command hears of its progress; 0: every 10 seconds.
	Progress time.Duration
	// MessageSize is the largest message that APPEND takes, in octets (RFC 7889 APPENDLIMIT).
	MessageSize int64
	// AccountSessions is how many sessions one account may have on this gateway.
	AccountSessions int
	// Messages is how many messages one command may take (RFC 9738), at least 1,000; 0: any number.
	Messages int
	// Pipeline is how many commands of a session may run beside each other; 1: one after the other.
	Pipeline int
	// Compress offers COMPRESS=DEFLATE.
	Compress bool
	// LoginFailures and BadCommands in a row end a session.
	LoginFailures, BadCommands int
}

// Options of an Engine.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Tracer     *telemetry.Tracer     // may be nil
	Now        func() time.Time
	Storage    storagev1.StorageServiceClient
	Directory  directoryv1.DirectoryServiceClient
	Quota      quotav1.QuotaServiceClient
	QuotaAdmin quotav1.QuotaAdminServiceClient
	Views      *view.Manager
	// Sessions is the register by which they are drained.
	Sessions *listen.Sessions
	// TLS is offered by STARTTLS and spoken at once on implicit TLS listeners; nil: neither.
	TLS *tls.Config
	// InsecureAuth takes passwords on connections without TLS.
	InsecureAuth bool
	// StrictUTF8 refuses messages with 8-bit octets in their header from clients that have not enabled UTF8=ACCEPT or IMAP4rev2.
	StrictUTF8 bool
	// Hostname is told in the greeting, Version by ID.
	Hostname string
	Version  string
	// Operators are the addresses of accounts that may set the limits of all.
	Operators []string
	Limits    Limits
}

// Engine has what all sessions share.
type Engine struct {
	Options
	grammar *wire.Grammar
	offer   *sasl.Offer
	metrics *metrics
	owners  *owners

	mu       sync.Mutex
	accounts map[string]int // sessions by account id
}

// New makes an engine.
func New(opts Options) *Engine {
	opts.Limits.Progress = cmp.Or(opts.Limits.Progress, progressInterval)
	return &Engine{
		Options:  opts,
		grammar:  newGrammar(),
		offer:    sasl.NewOffer(opts.Directory),
		metrics:  newMetrics(opts.Registerer),
		owners:   newOwners(),
		accounts: map[string]int{},
	}
}

// Serve speaks IMAP on a connection until it ends, and closes it. With implicitTLS the handshake comes first.
//
// It is here that a client is waited for, mostly: by a goroutine that does nothing else and so needs little of a stack, which remains as large as it ever was. The
// turns of a session have one of their own each.
func (e *Engine) Serve(ctx context.Context, conn net.Conn, implicitTLS bool) {
	var s *session
	remove := func() {}
	defer func() { remove() }()
	over := apart(func() bool {
		s = newSession(e, conn)
		remove = e.Sessions.Add(s)
		return s.begin(ctx, implicitTLS)
	})
	for !over {
		s.conn.rest()
		over = apart(s.resume)
	}
}

// apart runs fn on a goroutine of its own, and waits for it. A panic goes on here.
func apart(fn func() bool) (over bool) {
	ended := make(chan any)
	go func() {
		defer func() { ended <- recover() }()
		over = fn()
	}()
	if p := <-ended; p != nil {
		panic(p)
	}
	return over
}

// acquire counts a session of an account; false if it has too many.
func (e *Engine) acquire(accountID string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.accounts[accountID] >= e.Limits.AccountSessions {
		return false
	}
	e.accounts[accountID]++
	return true
}

func (e *Engine) release(accountID string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.accounts[accountID]--; e.accounts[accountID] <= 0 {
		delete(e.accounts, accountID)
	}
}
