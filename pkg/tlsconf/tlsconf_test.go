package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// clock is a time that tests move.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time       { return c.now }
func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

func testOptions() (Options, *clock, *prometheus.Registry) {
	c, reg := &clock{time.Now()}, prometheus.NewRegistry()
	return Options{Log: slog.New(slog.DiscardHandler), Registerer: reg, Now: c.Now}, c, reg
}

// handshake connects a client to a server in memory and gives what the client saw, and both errors.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error, error) {
	t.Helper()
	a, b := net.Pipe()
	defer func() { _ = a.Close(); _ = b.Close() }()
	deadline := time.Now().Add(20 * time.Second)
	_ = a.SetDeadline(deadline)
	_ = b.SetDeadline(deadline)
	serverErr := make(chan error, 1)
	s, c := tls.Server(a, server), tls.Client(b, client)
	go func() {
		err := s.HandshakeContext(t.Context())
		if err != nil {
			_ = a.Close()
		} else {
			_, err = s.Write([]byte("x")) // in TLS 1.3 the client learns of a refusal only now
		}
		serverErr <- err
	}()
	err := c.HandshakeContext(t.Context())
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	} else {
		_ = b.Close()
	}
	return c.ConnectionState(), err, <-serverErr
}

func TestSelfSignedAndReload(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	certFile, keyFile, err := SelfSigned(dir, "mail.example.test", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(keyFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
	before, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := SelfSigned(dir, "127.0.0.1", "mail.example.test"); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(certFile); err != nil || string(after) != string(before) {
		t.Error("a good certificate was replaced")
	}
	opts, now, reg := testOptions()
	server, err := Load(certFile, keyFile, opts)
	if err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		pool, err := readPool(certFile)
		if err != nil {
			pool = x509.NewCertPool()
		}
		state, _, _ := handshake(t, server, &tls.Config{RootCAs: pool, ServerName: "mail.example.test", MinVersion: tls.VersionTLS12, InsecureSkipVerify: true})
		if len(state.PeerCertificates) == 0 {
			t.Fatal("no handshake")
		}
		return state.PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	// Other hosts make a new certificate; it is taken at the next look.
	if _, _, err := SelfSigned(dir, "mx.example.test"); err != nil {
		t.Fatal(err)
	}
	if serial() != first {
		t.Error("the files were looked at too early")
	}
	now.pass(checkEvery)
	second := serial()
	if second == first {
		t.Error("the new certificate is not in use")
	}
	if err := os.WriteFile(certFile, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	now.pass(checkEvery)
	if serial() != second {
		t.Error("rubbish replaced a good certificate")
	}
	want := `# HELP yubin_tls_reloads_total Changed certificate files read again, by result.
# TYPE yubin_tls_reloads_total counter
yubin_tls_reloads_total{result="error"} 1
yubin_tls_reloads_total{result="ok"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "yubin_tls_reloads_total"); err != nil {
		t.Error(err)
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	now.pass(checkEvery)
	if serial() != second {
		t.Error("a missing file replaced a good certificate")
	}
}

func TestLoadRefusesRubbish(t *testing.T) {
	opts, _, _ := testOptions()
	if _, err := Load("/nonexistent.crt", "/nonexistent.key", opts); err == nil {
		t.Error("missing files were taken")
	}
	file := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(file, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file, file, opts); err == nil {
		t.Error("rubbish was taken")
	}
	if _, err := readPool(file); err == nil {
		t.Error("rubbish was taken as CA")
	}
}

func TestPublicServerRefusesOldTLS(t *testing.T) {
	certFile, keyFile, err := SelfSigned(t.TempDir(), "a.test")
	if err != nil {
		t.Fatal(err)
	}
	opts, _, _ := testOptions()
	server, err := Load(certFile, keyFile, opts)
	if err != nil {
		t.Fatal(err)
	}
	_, err, _ = handshake(t, server, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil {
		t.Error("TLS 1.1 was taken")
	}
}

func TestUsable(t *testing.T) {
	now := time.Now()
	cert := &x509.Certificate{
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(leafLifetime),
		DNSNames: []string{"a.test"}, IPAddresses: []net.IP{net.ParseIP("::1")},
	}
	if !usable(cert, []string{"::1", "a.test"}, now) {
		t.Error("a fresh certificate is not usable")
	}
	for name, bad := range map[string]bool{
		"other hosts": usable(cert, []string{"b.test"}, now),
		"near expiry": usable(cert, []string{"a.test", "::1"}, now.Add(leafLifetime*3/4)),
		"expired":     usable(cert, []string{"a.test", "::1"}, now.Add(2*leafLifetime)),
		"too early":   usable(cert, []string{"a.test", "::1"}, now.Add(-2*time.Hour)),
	} {
		if bad {
			t.Errorf("%s: usable", name)
		}
	}
}

func TestAuthority(t *testing.T) {
	dir := t.TempDir()
	ca, err := NewAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Issue("storage", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	again, err := NewAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Issue("storage", "localhost"); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(files.Cert); err != nil || string(after) != string(before) {
		t.Error("a good certificate was issued again")
	}
	for _, name := range []string{"", "ca", "../x", "Storage", "a/b"} {
		if _, err := ca.Issue(name); err == nil {
			t.Errorf("%q was issued", name)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.key"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewAuthority(dir); err == nil {
		t.Error("a damaged CA was replaced")
	}
}

func TestMutual(t *testing.T) {
	ca, err := NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	issue := func(a *Authority, service string) Files {
		f, err := a.Issue(service)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	opts, now, _ := testOptions()
	storage := issue(ca, "storage")
	server, err := MutualServer(storage, opts)
	if err != nil {
		t.Fatal(err)
	}
	connect := func(f Files, expect string) error {
		client, err := MutualClient(f, expect, opts)
		if err != nil {
			t.Fatal(err)
		}
		_, clientErr, serverErr := handshake(t, server, client)
		if (clientErr == nil) != (serverErr == nil) {
			t.Logf("client: %v, server: %v", clientErr, serverErr)
		}
		if clientErr != nil {
			return clientErr
		}
		return serverErr
	}
	smtp := issue(ca, "smtp")
	if err := connect(smtp, "storage"); err != nil {
		t.Error(err)
	}
	if err := connect(smtp, "quota"); err == nil {
		t.Error("storage passed for quota")
	}
	stranger := issue(other, "smtp")
	if err := connect(stranger, "storage"); err == nil {
		t.Error("a server of another CA was trusted")
	}
	stranger.CA = smtp.CA
	if err := connect(stranger, "storage"); err == nil {
		t.Error("a client of another CA was let in")
	}
	_, err, _ = handshake(t, server, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	if err == nil {
		t.Error("a client without certificate was let in")
	}
	_, err, _ = handshake(t, server, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12})
	if err == nil {
		t.Error("TLS 1.2 was taken")
	}
	// Moving everything to another CA needs no restart.
	moved := issue(other, "storage")
	for from, to := range map[string]string{moved.Key: storage.Key, moved.Cert: storage.Cert, moved.CA: storage.CA} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	now.pass(checkEvery)
	client, err := MutualClient(Files{CA: storage.CA, Cert: stranger.Cert, Key: stranger.Key}, "storage", opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err, _ := handshake(t, server, client); err != nil {
		t.Errorf("after the move: %v", err)
	}
}

func TestServiceOf(t *testing.T) {
	for text, want := range map[string]string{
		"spiffe://yubin/smtp": "smtp", "spiffe://other/smtp": "", "https://yubin/smtp": "", "spiffe://yubin/a/b": "",
		"spiffe://yubin": "", "spiffe://yubin/smtp?x=1": "", "spiffe://u@yubin/smtp": "",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := ServiceOf(&x509.Certificate{URIs: []*url.URL{u}}); got != want {
			t.Errorf("%s: got %q", text, got)
		}
		if got := ServiceOf(&x509.Certificate{URIs: []*url.URL{u, u}}); got != "" {
			t.Errorf("two of %s: got %q", text, got)
		}
	}
}
