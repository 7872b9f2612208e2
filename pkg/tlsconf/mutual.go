package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// trustDomain is the host of every service's URI SAN.
const trustDomain = "yubin"

// Files are the PEM files of one service for mutual TLS.
type Files struct {
	CA, Cert, Key string
}

// identity is what a service shows and trusts.
type identity struct {
	cert *tls.Certificate
	pool *x509.CertPool
}

func loadIdentity(f Files, opts Options) (*reloader[identity], error) {
	tell := tellExpiry(opts.Registerer, f.Cert)
	return newReloader(opts, func() (identity, error) {
		cert, err := readPair(f.Cert, f.Key)
		if err != nil {
			return identity{}, err
		}
		tell(cert)
		pool, err := readPool(f.CA)
		if err != nil {
			return identity{}, err
		}
		return identity{cert, pool}, nil
	}, f.Cert, f.Key, f.CA)
}

// MutualServer makes the configuration of a server that takes clients with a certificate of the CA only. TLS 1.3 is the least version.
func MutualServer(f Files, opts Options) (*tls.Config, error) {
	r, err := loadIdentity(f, opts)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			id := r.get()
			return &tls.Config{
				MinVersion:   tls.VersionTLS13,
				NextProtos:   []string{"h2"},
				Certificates: []tls.Certificate{*id.cert},
				ClientAuth:   tls.RequireAndVerifyClientCert,
				ClientCAs:    id.pool,
			}, nil
		},
	}, nil
}

// MutualClient makes the configuration of a client that shows its certificate, and takes a server
// only if a certificate of the CA names it serverService. TLS 1.3 is the least version.
func MutualClient(f Files, serverService string, opts Options) (*tls.Config, error) {
	r, err := loadIdentity(f, opts)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return r.get().cert, nil },
		// A service is known by its URI SAN, whatever host it runs on; crypto/tls can only compare host names.
		// VerifyConnection does the whole verification, also for resumed sessions.
		InsecureSkipVerify: true, // #nosec G402 -- see above
		VerifyConnection: func(state tls.ConnectionState) error {
			return verifyService(state, r.get().pool, serverService)
		},
	}, nil
}

var errNoPeer = errors.New("the peer shows no certificate")

func verifyService(state tls.ConnectionState, pool *x509.CertPool, service string) error {
	if len(state.PeerCertificates) == 0 {
		return errNoPeer
	}
	leaf, intermediates := state.PeerCertificates[0], x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		intermediates.AddCert(cert)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:         pool,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("verify server: %w", err)
	}
	if got := ServiceOf(leaf); got != service {
		return fmt.Errorf("verify server: it is service %q, expected %q", got, service)
	}
	return nil
}

// ServiceOf gives the service that a certificate names in its one URI SAN spiffe://yubin/<service>, or "".
func ServiceOf(cert *x509.Certificate) string {
	if len(cert.URIs) != 1 { // SPIFFE X509-SVID section 2: exactly one URI SAN
		return ""
	}
	uri := cert.URIs[0]
	if uri.Scheme != "spiffe" || uri.Host != trustDomain || uri.RawQuery != "" || uri.Fragment != "" || uri.User != nil {
		return ""
	}
	name := strings.TrimPrefix(uri.Path, "/")
	if strings.Contains(name, "/") {
		return ""
	}
	return name
}

func serviceURI(service string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: trustDomain, Path: "/" + service}
}
