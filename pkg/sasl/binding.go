package sasl

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
)

// Types of channel bindings.
const (
	bindingExporter = "tls-exporter"         // RFC 9266
	bindingUnique   = "tls-unique"           // RFC 5929 section 3
	bindingEndPoint = "tls-server-end-point" // RFC 5929 section 4
)

// Bindings gives the channel bindings of a TLS connection, seen from its server, whose configuration is config. Call it soon after the handshake:
// tls-server-end-point names the certificate that config gives now. (Sessions that are resumed have none but it: tlsconf.Load.)
func Bindings(state tls.ConnectionState, config *tls.Config) []*directoryv1.ChannelBinding {
	var out []*directoryv1.ChannelBinding
	add := func(kind string, data []byte) {
		if len(data) > 0 {
			out = append(out, &directoryv1.ChannelBinding{Type: kind, Data: data})
		}
	}
	// RFC 9266 section 4.2: below TLS 1.3 only with the extended master secret, without which ExportKeyingMaterial fails. tls-unique
	// without it is open to the triple handshake attack (RFC 7627); in TLS 1.3 there is none.
	if exported, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil {
		add(bindingExporter, exported)
		add(bindingUnique, state.TLSUnique)
	}
	if leaf := certificate(state, config); leaf != nil {
		add(bindingEndPoint, endPoint(leaf))
	}
	return out
}

// certificate is the one that config gives to clients.
func certificate(state tls.ConnectionState, config *tls.Config) *x509.Certificate {
	var cert *tls.Certificate
	if config.GetCertificate != nil {
		cert, _ = config.GetCertificate(&tls.ClientHelloInfo{ServerName: state.ServerName}) // which has worked in the handshake
	}
	if cert == nil && len(config.Certificates) == 1 {
		cert = &config.Certificates[0]
	}
	switch {
	case cert == nil:
		return nil
	case cert.Leaf != nil:
		return cert.Leaf
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}

// endPoint is RFC 5929 section 4.1: the hash of the certificate by the hash function of its signature, but for MD5 and SHA-1 by SHA-256. It is not
// defined for signatures without exactly one hash function, such as Ed25519.
func endPoint(leaf *x509.Certificate) []byte {
	var by crypto.Hash
	switch leaf.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.DSAWithSHA256, x509.ECDSAWithSHA256:
		by = crypto.SHA256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		by = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		by = crypto.SHA512
	default:
		return nil
	}
	hash := by.New()
	hash.Write(leaf.Raw)
	return hash.Sum(nil)
}
