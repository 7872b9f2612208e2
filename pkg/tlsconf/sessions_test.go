package tlsconf

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
)

// Clients resume their sessions, but none that began under a certificate that has been replaced: they would bind to it.
func TestSessionsEndWithTheirCertificate(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tls")
			certFile, keyFile, err := SelfSigned(dir, "mail.example.test")
			if err != nil {
				t.Fatal(err)
			}
			opts, clock, _ := testOptions()
			server, err := Load(certFile, keyFile, opts)
			if err != nil {
				t.Fatal(err)
			}
			client := &tls.Config{InsecureSkipVerify: true, ServerName: "mail.example.test", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			connect := func(resumes bool) []byte {
				t.Helper()
				state, err, serverErr := handshake(t, server, client)
				if err != nil || serverErr != nil {
					t.Fatal(err, serverErr)
				}
				if state.DidResume != resumes {
					t.Errorf("resumed: %v, want %v", state.DidResume, resumes)
				}
				return state.PeerCertificates[0].Raw
			}
			old := connect(false)
			connect(true)
			connect(true)
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if _, _, err := SelfSigned(dir, "mail.example.test"); err != nil {
				t.Fatal(err)
			}
			clock.pass(checkEvery)
			if string(connect(false)) == string(old) {
				t.Error("the client sees the old certificate")
			}
			connect(true)
		})
	}
}
