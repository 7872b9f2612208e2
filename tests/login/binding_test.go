package login

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
	"github.com/xdg-go/scram"

	"github.com/yubin-mail/yubin/pkg/tlsconf"
	"github.com/yubin-mail/yubin/tests/harness"
)

// bound is a client of SCRAM-SHA-256 for alice.
type bound struct {
	mechanism string
	*scram.ClientConversation
}

func (b bound) Start() (string, []byte, error) {
	first, err := b.Step("")
	return b.mechanism, []byte(first), err
}

func (b bound) Next(challenge []byte) ([]byte, error) {
	response, err := b.Step(string(challenge))
	return []byte(response), err
}

// offered is a client that looks at the mechanisms on its connection, and binds to it if that is among them.
func offered(t *testing.T, mechanisms string, state tls.ConnectionState, kind scram.ChannelBindingType) bound {
	t.Helper()
	client, err := scram.SHA256.NewClient(harness.Address("alice"), harness.Password, "")
	require.NoError(t, err)
	if !strings.Contains(mechanisms, "SCRAM-SHA-256-PLUS") {
		return bound{"SCRAM-SHA-256", client.NewConversationAdvertisingChannelBinding()}
	}
	binding := scram.ChannelBinding{Type: kind, Data: state.TLSUnique}
	switch kind {
	case scram.ChannelBindingTLSExporter:
		binding, err = scram.NewTLSExporterBinding(&state)
	case scram.ChannelBindingTLSServerEndpoint:
		binding, err = scram.NewTLSServerEndpointBinding(&state)
	}
	require.NoError(t, err)
	return bound{"SCRAM-SHA-256-PLUS", client.NewConversationWithChannelBinding(binding)}
}

// state is that of a connection after its handshake.
func state(w *harness.Wire) tls.ConnectionState { return w.Conn.(*tls.Conn).ConnectionState() }

func TestLoginsAreBoundToTheirConnection(t *testing.T) {
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}, Args: []string{"--directory-scram-plus"}})
	for _, tt := range []struct {
		name    string
		version uint16
		kind    scram.ChannelBindingType
	}{
		{"TLS 1.3, tls-exporter", tls.VersionTLS13, scram.ChannelBindingTLSExporter},
		{"TLS 1.3, tls-server-end-point", tls.VersionTLS13, scram.ChannelBindingTLSServerEndpoint},
		{"TLS 1.2, tls-exporter", tls.VersionTLS12, scram.ChannelBindingTLSExporter},
		{"TLS 1.2, tls-unique", tls.VersionTLS12, scram.ChannelBindingTLSUnique},
		{"TLS 1.2, tls-server-end-point", tls.VersionTLS12, scram.ChannelBindingTLSServerEndpoint},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := s.TLS(t)
			config.MaxVersion = tt.version
			config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			for range 2 { // the second time the session is resumed
				conn := dial(t, s.IMAPS[0], config)
				require.NoError(t, imapLogin(t, conn, offered(t, "SCRAM-SHA-256-PLUS", conn.ConnectionState(), tt.kind)))
				conn = dial(t, s.Submissions, config)
				require.NoError(t, smtpLogin(t, conn, offered(t, "SCRAM-SHA-256-PLUS", conn.ConnectionState(), tt.kind)))

				c, err := smtp.DialStartTLS(s.Submission, config)
				require.NoError(t, err)
				_, mechanisms := c.Extension("AUTH")
				after, secure := c.TLSConnectionState()
				require.True(t, secure)
				require.NoError(t, c.Auth(offered(t, mechanisms, after, tt.kind)))
				require.NoError(t, c.Quit())

				p := s.Wire(t, s.POP3, false)
				p.Expect(`^\+OK`)
				p.Do("STLS", `^\+OK`)
				p.Handshake(config)
				mechanisms = p.Do("CAPA", "^SASL")
				p.Expect(`^\.$`)
				require.Regexp(t, `^\+OK`, pop3Login(t, p, offered(t, mechanisms, state(p), tt.kind)))
				p.Do("QUIT", `^\+OK`)
			}
		})
	}
}

// Somebody who has got a certificate that the client believes sits between it and the server, and passes everything on.
func TestSomebodyBetweenGetsNothing(t *testing.T) {
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}, Args: []string{"--directory-scram-plus"}})
	fooled := &tls.Config{InsecureSkipVerify: true} // #nosec G402 -- it believes any certificate
	for name, tt := range map[string]struct {
		hide bool // the offer to bind
		kind scram.ChannelBindingType
	}{
		"tls-exporter":         {false, scram.ChannelBindingTLSExporter},
		"tls-server-end-point": {false, scram.ChannelBindingTLSServerEndpoint},
		"hides the offer":      {true, scram.ChannelBindingTLSExporter},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, between(t, s, tt.hide), fooled)
			c := imapclient.New(conn, nil)
			mechanisms := ""
			if c.Caps().Has(imap.AuthCap("SCRAM-SHA-256-PLUS")) {
				mechanisms = "SCRAM-SHA-256-PLUS"
			}
			require.Equal(t, tt.hide, mechanisms == "")
			how := offered(t, mechanisms, conn.ConnectionState(), tt.kind)
			require.ErrorContains(t, c.Authenticate(how), "AUTHENTICATIONFAILED")
			require.False(t, how.Valid(), "the client has taken it for the server")
		})
	}
	// To the one that hides nothing, a client without channel binding falls: that is what it is for.
	conn := dial(t, between(t, s, false), fooled)
	client, err := scram.SHA256.NewClient(harness.Address("alice"), harness.Password, "")
	require.NoError(t, err)
	require.NoError(t, imapLogin(t, conn, bound{"SCRAM-SHA-256", client.NewConversation()}))
}

// between listens with another certificate, and passes on what comes to the server and back. With hide it takes -PLUS from what the server offers.
func between(t *testing.T, s *harness.System, hide bool) string {
	t.Helper()
	cert, key, err := tlsconf.SelfSigned(filepath.Join(t.TempDir(), "tls"), "localhost")
	require.NoError(t, err)
	pair, err := tls.LoadX509KeyPair(cert, key)
	require.NoError(t, err)
	require.NotEqual(t, sha256.Sum256(pair.Certificate[0]), endPoint(t, s))
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	config := s.TLS(t)
	go func() {
		for {
			victim, err := listener.Accept()
			if err != nil {
				return
			}
			go relay(victim, s.IMAPS[0], config, hide)
		}
	}()
	return listener.Addr().String()
}

func relay(victim net.Conn, addr string, config *tls.Config, hide bool) {
	defer func() { _ = victim.Close() }()
	server, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() {
		_, _ = io.Copy(server, victim)
		_ = server.Close()
	}()
	lines := bufio.NewReader(server)
	for {
		line, err := lines.ReadString('\n')
		if hide {
			line = strings.ReplaceAll(line, " AUTH=SCRAM-SHA-256-PLUS", "")
		}
		if _, writeErr := io.WriteString(victim, line); err != nil || writeErr != nil {
			return
		}
	}
}

func endPoint(t *testing.T, s *harness.System) [sha256.Size]byte {
	t.Helper()
	conn := dial(t, s.IMAPS[0], s.TLS(t))
	return sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw)
}
