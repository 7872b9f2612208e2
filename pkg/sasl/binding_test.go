package sasl

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
)

func certify(t *testing.T, key crypto.Signer, by x509.SignatureAlgorithm) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}, SignatureAlgorithm: by,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// handshake gives both ends of a connection.
func handshake(t *testing.T, server, client *tls.Config) (at, from tls.ConnectionState) {
	t.Helper()
	a, b := net.Pipe()
	defer func() { _ = a.Close() }()
	defer func() { _ = b.Close() }()
	there, here := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1)
	go func() { done <- there.HandshakeContext(t.Context()) }()
	if err := here.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	go func() { // reads what comes behind the handshake
		var one [1]byte
		_, _ = here.Read(one[:])
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return there.ConnectionState(), here.ConnectionState()
}

func find(bindings []*directoryv1.ChannelBinding, kind string) []byte {
	for _, b := range bindings {
		if b.GetType() == kind {
			return b.GetData()
		}
	}
	return nil
}

// Both ends of a connection have the same bindings, and those of another are others.
func TestBindings(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := certify(t, key, x509.ECDSAWithSHA384)
	for _, tt := range []struct {
		version uint16
		unique  bool
	}{{tls.VersionTLS12, true}, {tls.VersionTLS13, false}} {
		server := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }}
		client := &tls.Config{InsecureSkipVerify: true, MaxVersion: tt.version}
		at, from := handshake(t, server, client)
		got := Bindings(at, server)
		exported, err := from.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		if err != nil || !bytes.Equal(find(got, "tls-exporter"), exported) {
			t.Errorf("%x: tls-exporter is %x, the client has %x, %v", tt.version, find(got, "tls-exporter"), exported, err)
		}
		if unique := find(got, "tls-unique"); (unique != nil) != tt.unique || !bytes.Equal(unique, from.TLSUnique) {
			t.Errorf("%x: tls-unique is %x, the client has %x", tt.version, unique, from.TLSUnique)
		}
		hash := sha512.Sum384(from.PeerCertificates[0].Raw)
		if !bytes.Equal(find(got, "tls-server-end-point"), hash[:]) {
			t.Errorf("%x: tls-server-end-point is %x, the client has %x", tt.version, find(got, "tls-server-end-point"), hash)
		}
		other, _ := handshake(t, server, client)
		if bytes.Equal(find(Bindings(other, server), "tls-exporter"), exported) {
			t.Errorf("%x: two connections have the same tls-exporter", tt.version)
		}
	}
}

func TestEndPoint(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key crypto.Signer
		by  x509.SignatureAlgorithm
		sum func([]byte) []byte // nil: there is none
	}{
		{rsaKey, x509.SHA256WithRSA, sum256}, {rsaKey, x509.SHA256WithRSAPSS, sum256}, {ecdsaKey, x509.ECDSAWithSHA256, sum256},
		{rsaKey, x509.SHA512WithRSA, sum512}, {ecdsaKey, x509.ECDSAWithSHA512, sum512}, {edKey, x509.PureEd25519, nil},
	} {
		cert := certify(t, tt.key, tt.by)
		config := &tls.Config{Certificates: []tls.Certificate{cert}}
		at, _ := handshake(t, config, &tls.Config{InsecureSkipVerify: true})
		got := find(Bindings(at, config), "tls-server-end-point")
		var want []byte
		if tt.sum != nil {
			want = tt.sum(cert.Certificate[0])
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%v: %x, want %x", tt.by, got, want)
		}
	}
}

func sum256(b []byte) []byte { s := sha256.Sum256(b); return s[:] }
func sum512(b []byte) []byte { s := sha512.Sum512(b); return s[:] }
