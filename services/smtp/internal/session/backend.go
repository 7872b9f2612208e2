// Package session is what happens in an SMTP session: who may send what to whom, and the answer to each command.
package session

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/google/uuid"

	yubinsasl "github.com/yubin-mail/yubin/pkg/sasl"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/smtp/internal/intake"
	"github.com/yubin-mail/yubin/services/smtp/internal/post"
	"github.com/yubin-mail/yubin/services/smtp/internal/wire"
)

// Role of a listener.
type Role string

// The roles, as they stand in metrics.
const (
	// RoleMX takes mail from other servers for local recipients (RFC 5321).
	RoleMX Role = "smtp"
	// RoleSubmission takes mail from users, who must log in (RFC 6409).
	RoleSubmission Role = "submission"
	// RoleLMTP takes mail from a trusted server of ours (RFC 2033).
	RoleLMTP Role = "lmtp"
)

// Config of the sessions.
type Config struct {
	Hostname string
	// TLS is what STARTTLS, or the connection, begins with.
	TLS    *tls.Config
	Limits intake.Limits
	// MaxHops is the number of Received fields from which on a message loops.
	MaxHops int
	// MaxAuthFailures is the number of failed logins that ends a session.
	MaxAuthFailures int
	// RejectFullTemporarily answers 452 instead of 552 for a full mailbox.
	RejectFullTemporarily bool
	// CallTimeout bounds a question to the directory or to quota.
	CallTimeout time.Duration
}

// Clients are the services that a session asks.
type Clients struct {
	Directory directoryv1.DirectoryServiceClient
	Quota     quotav1.QuotaServiceClient
	Storage   storagev1.StorageServiceClient
}

// Backend makes sessions. It implements go-smtp's Backend for one role.
type Backend struct {
	cfg     Config
	role    Role
	clients Clients
	poster  *post.Poster
	log     *slog.Logger
	now     func() time.Time
	tracer  *telemetry.Tracer
	metrics *roleMetrics
	offer   *yubinsasl.Offer
}

// NewBackend makes the backend of a role. tracer may be nil.
func NewBackend(cfg Config, role Role, clients Clients, log *slog.Logger, now func() time.Time, tracer *telemetry.Tracer, metrics *Metrics) *Backend {
	return &Backend{
		cfg: cfg, role: role, clients: clients, log: log.With("listener", string(role)), now: now, tracer: tracer, metrics: metrics.of(role),
		poster: post.New(clients.Storage), offer: yubinsasl.NewOffer(clients.Directory),
	}
}

// NewSession implements smtp.Backend. It is called at the first EHLO, HELO or LHLO, and again after STARTTLS.
func (b *Backend) NewSession(c *smtp.Conn) (smtp.Session, error) {
	ctx, cancel := context.WithCancel(context.Background())
	id := uuid.NewString()[:13]
	s := &session{backend: b, conn: c, ctx: ctx, cancel: cancel, id: id, log: b.log.With("session", id)}
	if addr, err := netip.ParseAddrPort(c.Conn().RemoteAddr().String()); err == nil {
		s.client = addr.Addr().Unmap()
	}
	if state, ok := c.TLSConnectionState(); ok {
		s.tls = &state
	}
	if s.wire = wire.Unwrap(c.Conn()); s.wire == nil {
		cancel()
		return nil, errors.New("connection is not of a wire.Listener")
	}
	s.leaveWith(Farewell(b.cfg.Hostname))
	s.enter(greeted)
	return s, s.done("EHLO", 250, nil)
}

// Farewell is what a session hears that is ended between commands (RFC 5321 section 3.8).
func Farewell(hostname string) string {
	return "421 4.3.2 " + hostname + " Service shutting down, please try again\r\n"
}

// transmission is the type of RFC 3848 and RFC 6531 section 4.3 for the Received field.
func (b *Backend) transmission(state *tls.ConnectionState, authenticated, smtputf8 bool) string {
	kind := "ESMTP"
	switch {
	case b.role == RoleLMTP && smtputf8:
		kind = "UTF8LMTP"
	case b.role == RoleLMTP:
		kind = "LMTP"
	case smtputf8:
		kind = "UTF8SMTP"
	}
	if state != nil {
		kind += "S"
	}
	if authenticated {
		kind += "A"
	}
	return kind
}
