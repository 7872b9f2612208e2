//go:build kube

package kube

import (
	"context"
	"crypto/rand"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// prepare makes what the load wants, and sees a mail arrive.
func (r *release) prepare(t *testing.T) {
	t.Helper()
	client := r.login(t, alice)
	defer client.Close()
	if err := client.Create(sent, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	r.mailArrives(t)
}

func (r *release) mailArrives(t *testing.T) {
	t.Helper()
	token := rand.Text()
	if err := deliver(r.port("smtp", "smtp"), token, alice); err != nil {
		t.Fatal(err)
	}
	if r.subjects(t, alice, "INBOX")[token] != 1 {
		t.Fatal("the mail is not there")
	}
}

// tellsSettings asks as mail programs do.
func (r *release) tellsSettings(t *testing.T) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: r.tls(t)}
	defer transport.CloseIdleConnections()
	for _, from := range []string{
		"http://" + r.port("autoconfig", "http") + "/mail/config-v1.1.xml?emailaddress=" + alice,
		"https://" + r.port("autoconfig", "https") + "/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=" + alice,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || !strings.Contains(string(text), "<hostname>mail.example.com</hostname>") || !strings.Contains(string(text), "<port>993</port>") {
			t.Errorf("%s: %d %s (%v)", from, answer.StatusCode, text, err)
		}
	}
}

func pick(t *testing.T, n int) int {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		t.Fatal(err)
	}
	return int(i.Int64())
}

// forward lets pods reach a server that listens on loopback only.
func forward(t *testing.T, host, target string) string {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatalf("listen where pods reach this machine (-kube.host): %v", err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			go pipe(in, target)
		}
	}()
	return listener.Addr().String()
}

// pipe passes octets on both ways until one side ends.
func pipe(in net.Conn, target string) {
	defer in.Close()
	out, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		_, _ = io.Copy(out, in)
		_ = out.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(in, out)
}
