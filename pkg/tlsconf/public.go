package tlsconf

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// tellExpiry gives what exports the end of the certificate that is in use, of a file.
func tellExpiry(reg prometheus.Registerer, certFile string) func(*tls.Certificate) {
	expiry := telemetry.Register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "yubin_tls_certificate_expiry_timestamp_seconds", Help: "When the certificate in use ends, in Unix time.",
	}, []string{"file"})).WithLabelValues(certFile)
	return func(cert *tls.Certificate) { expiry.Set(float64(cert.Leaf.NotAfter.Unix())) }
}

// Load makes the configuration of a public server from PEM files. TLS 1.2 is the least version
// (RFC 8314 section 4.1 asks for it). The certificate's end is exported as yubin_tls_certificate_expiry_timestamp_seconds.
func Load(certFile, keyFile string, opts Options) (*tls.Config, error) {
	tell := tellExpiry(opts.Registerer, certFile)
	r, err := newReloader(opts, func() (*tls.Certificate, error) {
		cert, err := readPair(certFile, keyFile)
		if err != nil {
			return nil, err
		}
		tell(cert)
		return cert, nil
	}, certFile, keyFile)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return r.get(), nil },
	}
	bindSessions(config, func() []byte { return r.get().Leaf.Raw })
	return config, nil
}

// bindSessions makes the sessions that clients resume end with the certificate under which they began: so the certificate that a client of
// config has seen is the current one (channel binding by tls-server-end-point, RFC 5929 section 4).
func bindSessions(config *tls.Config, current func() []byte) {
	const mark = "certificate "
	tag := func() []byte {
		sum := sha256.Sum256(current())
		return append([]byte(mark), sum[:]...)
	}
	config.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		session.Extra = append(session.Extra, tag())
		return config.EncryptTicket(state, session)
	}
	config.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := config.DecryptTicket(ticket, state)
		if err != nil || session == nil {
			return nil, err
		}
		now := tag()
		if !slices.ContainsFunc(session.Extra, func(extra []byte) bool { return bytes.Equal(extra, now) }) {
			return nil, nil // a whole handshake follows
		}
		return session, nil
	}
}

// SelfSigned gives the files tls.crt and tls.key of a self-signed certificate in dir for hosts (names
// or addresses), and makes them first if there are none, if less than a third of their
// year is left, or if they are for other hosts.
func SelfSigned(dir string, hosts ...string) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if cert, err := readPair(certFile, keyFile); err == nil && usable(cert.Leaf, hosts, time.Now()) {
		return certFile, keyFile, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("make key: %w", err)
	}
	name := "yubin"
	if len(hosts) > 0 {
		name = hosts[0]
	}
	template, err := newTemplate(pkix.Name{CommonName: name}, hosts, leafLifetime)
	if err != nil {
		return "", "", err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", "", fmt.Errorf("make certificate: %w", err)
	}
	return certFile, keyFile, writePair(certFile, keyFile, der, key)
}
