// Package session is the POP3 server of one connection: RFC 1939 with the extensions of RFC 2449, 2595, 3206, 5034 and 6856.
//
// Where the RFCs leave a choice:
//   - Messages are given out octet for octet as they are stored, also to sessions that have not sent UTF8. RFC 6856 would have
//     messages with raw UTF-8 in their header converted or refused there, but such headers are older than that RFC, the
//     clients that meet them never send UTF8, and a message that cannot be retrieved is mail that did not arrive.
//   - The size of a message is the stored one. If its last line has no CRLF, RETR adds it after that many octets.
//   - EXPIRE is NEVER: no message is removed because of its age or because it was retrieved.
package session

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"github.com/yubin-mail/yubin/pkg/sasl"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// Config of the sessions.
type Config struct {
	Hostname string
	// TLS is what STLS starts; nil: STLS is not offered.
	TLS *tls.Config
	// InsecureAuth allows passwords on connections that are not encrypted.
	InsecureAuth bool
	// IdleTimeout is how long a client may be silent, and how long it may take to log in.
	IdleTimeout time.Duration
	// WriteTimeout is how long a client may take to read what one write of up to 32 KiB carries.
	WriteTimeout time.Duration
	// CallTimeout bounds a call to another service, not counting the transfer of a message.
	CallTimeout time.Duration
	// LoginDelay is the least time between two logins to one account (RFC 2449 section 6.5).
	LoginDelay      time.Duration
	MaxAuthFailures int
	MaxBadCommands  int
}

// Clients are the services that a session asks.
type Clients struct {
	Directory directoryv1.DirectoryServiceClient
	Storage   storagev1.StorageServiceClient
}

// Server makes sessions.
type Server struct {
	config  Config
	clients Clients
	log     *slog.Logger
	tracer  *telemetry.Tracer
	metrics *Metrics
	offer   *sasl.Offer
	// logins remembers for the login delay who has logged in.
	logins *expirable.LRU[string, struct{}]
}

// maxLogins bounds the accounts that the login delay remembers.
const maxLogins = 100_000

// NewServer makes a server. tracer may be nil.
func NewServer(config Config, clients Clients, log *slog.Logger, tracer *telemetry.Tracer, metrics *Metrics) *Server {
	s := &Server{config: config, clients: clients, log: log, tracer: tracer, metrics: metrics, offer: sasl.NewOffer(clients.Directory)}
	if config.LoginDelay > 0 {
		s.logins = expirable.NewLRU[string, struct{}](maxLogins, nil, config.LoginDelay)
	}
	return s
}

// tooSoon tells whether an account has logged in less than the login delay ago, on this gateway.
func (s *Server) tooSoon(accountID string) bool {
	if s.logins == nil {
		return false
	}
	_, recent := s.logins.Peek(accountID)
	return recent
}

func (s *Server) loggedIn(accountID string) {
	if s.logins != nil {
		s.logins.Add(accountID, struct{}{})
	}
}

// New makes the session of a connection; secure says that it begins with a TLS handshake. Run must be called.
func (s *Server) New(c net.Conn, secure bool) *Session {
	id := telemetry.SessionID()
	session := &Session{
		server:   s,
		id:       id,
		log:      s.log.With("session", id, "client", c.RemoteAddr().String()),
		conn:     newConn(c, s.config.WriteTimeout),
		secure:   secure,
		state:    authorization,
		language: languages[0],
	}
	session.attach(session.conn)
	return session
}

// clientIP is the client's address without the port.
func clientIP(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// call bounds a call to another service.
func (s *Server) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.config.CallTimeout)
}
