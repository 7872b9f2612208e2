//go:build kube

package kube

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// tls trusts the certificate in the Secret, and no other.
func (r *release) tls(t *testing.T) *tls.Config {
	t.Helper()
	encoded := r.kubectl("get", "secret", "yubin-tls", "-o", `jsonpath={.data.tls\.crt}`)
	pem, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: "mail.example.com"}
}

// login opens an IMAP session.
func (r *release) login(t *testing.T, user string) *imapclient.Client {
	t.Helper()
	client, err := imapclient.DialTLS(r.port("imap", "imaps"), &imapclient.Options{TLSConfig: r.tls(t)})
	if err != nil {
		t.Fatalf("connect to IMAP: %v", err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if err := client.Login(user, password).Wait(); err != nil {
		t.Fatalf("log in: %v", err)
	}
	return client
}

// subjects counts how often each subject is in a mailbox.
func (r *release) subjects(t *testing.T, user, mailbox string) map[string]int {
	t.Helper()
	client := r.login(t, user)
	defer client.Close()
	box, err := client.Select(mailbox, nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	if box.NumMessages == 0 {
		return out
	}
	var all imap.SeqSet
	all.AddRange(1, 0)
	messages, err := client.Fetch(all, &imap.FetchOptions{Envelope: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		out[m.Envelope.Subject]++
	}
	return out
}
