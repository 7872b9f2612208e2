// Package login tests how people get in: by access tokens of an issuer, by logins that are bound to their connection, and all at once.
package login

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/pkg/testserver/oidc"
	"github.com/yubin-mail/yubin/tests/harness"
)

// dial connects with TLS, and gives the connection's state too.
func dial(t *testing.T, addr string, config *tls.Config) *tls.Conn {
	t.Helper()
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*tls.Conn)
}

// imapLogin logs in with imapclient, and opens the inbox.
func imapLogin(t *testing.T, conn *tls.Conn, how sasl.Client) error {
	t.Helper()
	c := imapclient.New(conn, nil)
	if err := c.Authenticate(how); err != nil {
		return err
	}
	_, err := c.Select("INBOX", nil).Wait()
	return err
}

// smtpLogin logs in with go-smtp's client, and submits a message to oneself.
func smtpLogin(t *testing.T, conn *tls.Conn, how sasl.Client) error {
	t.Helper()
	c := smtp.NewClient(conn)
	if err := c.Auth(how); err != nil {
		return err
	}
	alice := harness.Address("alice")
	return c.SendMail(alice, []string{alice}, strings.NewReader("From: "+alice+"\r\nSubject: in\r\n\r\nIn.\r\n"))
}

// pop3Login logs in over the wire, as RFC 5034 has it, without an initial response. It gives the last line.
func pop3Login(t *testing.T, w *harness.Wire, how sasl.Client) string {
	t.Helper()
	mechanism, response, err := how.Start()
	require.NoError(t, err)
	challenge, more := strings.CutPrefix(w.Do("AUTH "+mechanism, `^(\+ |\+OK|-ERR)`), "+ ")
	if !more {
		return challenge
	}
	require.Empty(t, challenge)
	for {
		line := w.Do(base64.StdEncoding.EncodeToString(response), `^(\+|-)`)
		challenge, more := strings.CutPrefix(line, "+ ")
		if !more {
			return line
		}
		text, err := base64.StdEncoding.DecodeString(challenge)
		require.NoError(t, err)
		response, err = how.Next(text)
		require.NoError(t, err)
	}
}

func bearer(user, token string) sasl.Client {
	return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: user, Token: token})
}

// xoauth2 is Google's mechanism.
type xoauth2 struct{ user, token string }

func (c xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", []byte("user=" + c.user + "\x01auth=Bearer " + c.token + "\x01\x01"), nil
}

func (c xoauth2) Next([]byte) ([]byte, error) { return []byte{}, nil }

func TestAccessTokensOpenEveryProtocol(t *testing.T) {
	for _, shape := range []harness.Shape{harness.AllInOne, harness.Split} {
		t.Run(string(shape), func(t *testing.T) {
			issuer := oidc.Start(t)
			s := harness.Start(t, harness.Options{Shape: shape, Accounts: []string{"alice"}, Args: []string{
				"--directory-oauth-issuer", issuer.URL, "--directory-oauth-audience", "mail", "--directory-oauth-scope", "mail", "--directory-scram-plus",
			}})
			alice := harness.Address("alice")
			claims := oidc.Claims{"aud": "mail", "scope": "openid mail", "email": alice}
			token := issuer.Token(claims)

			for name, how := range map[string]sasl.Client{
				"OAUTHBEARER": bearer(alice, token), "OAUTHBEARER without a name": bearer("", token), "XOAUTH2": xoauth2{alice, token},
			} {
				t.Run(name, func(t *testing.T) {
					require.NoError(t, smtpLogin(t, dial(t, s.Submissions, s.TLS(t)), how))
					require.NoError(t, imapLogin(t, dial(t, s.IMAPS[0], s.TLS(t)), how))
					w := s.Wire(t, s.POP3S, true)
					w.Expect(`^\+OK`)
					require.Regexp(t, `^\+OK maildrop has [1-9]`, pop3Login(t, w, how))
					w.Do("QUIT", `^\+OK`)
				})
			}

			t.Run("what is refused", func(t *testing.T) { refused(t, s, issuer, claims) })

			t.Run("only over TLS", func(t *testing.T) {
				w := s.Wire(t, s.IMAP[0], false)
				require.NotContains(t, w.Expect(`^\* OK`), "OAUTH")
				w.Do("a AUTHENTICATE OAUTHBEARER", `^a NO \[PRIVACYREQUIRED\]`)
				w.Do("b STARTTLS", "^b OK")
				w.Handshake(s.TLS(t))
				require.Contains(t, w.Do("c CAPABILITY", `^\* CAPABILITY`), " AUTH=OAUTHBEARER ")
				p := s.Wire(t, s.POP3, false)
				p.Expect(`^\+OK`)
				require.Equal(t, "SASL SCRAM-SHA-256", p.Do("CAPA", "^SASL"))
				p.Expect(`^\.$`)
				p.Do("STLS", `^\+OK`)
				p.Handshake(s.TLS(t))
				require.Equal(t, "SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN", p.Do("CAPA", "^SASL"))
				m := s.Wire(t, s.Submissions, true)
				m.Expect("^220 ")
				require.Contains(t, m.Do("EHLO x.test", "AUTH"), "OAUTHBEARER XOAUTH2")
			})
		})
	}
}

// refused plays what the RFCs say of a token that opens nothing: the reason as a challenge, an answer to it, and then the failure.
func refused(t *testing.T, s *harness.System, issuer *oidc.Issuer, claims oidc.Claims) {
	expired := oidc.Claims{"exp": 1}
	for name, value := range claims {
		if name != "exp" {
			expired[name] = value
		}
	}
	_, message, err := bearer(harness.Address("alice"), issuer.Token(expired)).Start()
	require.NoError(t, err)
	b64 := base64.StdEncoding.EncodeToString
	told := func(line string) {
		t.Helper()
		_, challenge, _ := strings.Cut(line, " ")
		text, err := base64.StdEncoding.DecodeString(challenge)
		require.NoError(t, err)
		var reason map[string]string
		require.NoError(t, json.Unmarshal(text, &reason))
		require.Equal(t, map[string]string{
			"status": "invalid_token", "schemes": "bearer", "scope": "mail", "openid-configuration": issuer.URL + oidc.DiscoveryPath,
		}, reason)
	}
	w := s.Wire(t, s.IMAPS[0], true)
	w.Expect(`^\* OK`)
	told(w.Do("a AUTHENTICATE OAUTHBEARER "+b64(message), `^\+ `)) // RFC 7628 section 4.2
	w.Do("AQ==", `^a NO \[EXPIRED\]`)
	told(w.Do("b AUTHENTICATE OAUTHBEARER "+b64(message), `^\+ `))
	w.Do("*", `^b BAD`)
	w.Do("c LOGIN "+harness.Address("alice")+` "`+harness.Password+`"`, "^c OK")

	m := s.Wire(t, s.Submissions, true)
	m.Expect("^220 ")
	m.Do("EHLO x.test", "^250 ")
	told(m.Do("AUTH OAUTHBEARER "+b64(message), "^334 "))
	m.Do("AQ==", "^535 5.7.8 ")

	p := s.Wire(t, s.POP3S, true)
	p.Expect(`^\+OK`)
	p.Do("AUTH OAUTHBEARER", `^\+ `)
	told(p.Do(b64(message), `^\+ `))
	p.Do("AQ==", `^-ERR \[AUTH\]`)
}

func TestWithoutAnIssuerThereAreNoTokens(t *testing.T) {
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	c := imapclient.New(dial(t, s.IMAPS[0], s.TLS(t)), nil)
	require.True(t, c.Caps().Has(imap.AuthCap("PLAIN")))
	for _, mechanism := range []string{"OAUTHBEARER", "XOAUTH2"} {
		require.False(t, c.Caps().Has(imap.AuthCap(mechanism)))
	}
	w := s.Wire(t, s.IMAPS[0], true)
	w.Do("a AUTHENTICATE OAUTHBEARER", `^a NO \[CANNOT\]`)
	p := s.Wire(t, s.POP3S, true)
	p.Do("AUTH XOAUTH2", "^-ERR unknown authentication mechanism")
	m := s.Wire(t, s.Submissions, true)
	m.Do("EHLO x.test", "^250 ")
	m.Do("AUTH OAUTHBEARER", "^504 ")
}
