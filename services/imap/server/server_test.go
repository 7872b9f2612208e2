package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// configured reads flags as main does.
func configured(t *testing.T, args ...string) (Config, error) {
	t.Helper()
	var cfg Config
	fs := pflag.NewFlagSet("imap", pflag.ContinueOnError)
	cfg.Flags(fs)
	if err := config.Load(fs, args, nil); err != nil {
		t.Fatal(err)
	}
	return cfg, config.Check(cfg.Validate())
}

func TestConfig(t *testing.T) {
	certFile, keyFile, err := tlsconf.SelfSigned(t.TempDir(), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	cert, key := "--imap-tls-cert="+certFile, "--imap-tls-key="+keyFile
	for _, c := range []struct {
		args []string
		want string // part of the complaint; "" for none
	}{
		{[]string{cert, key}, ""},
		{[]string{"--imap-tls-listen=", "--imap-insecure-auth"}, ""},
		{nil, "--imap-tls-listen: needs a certificate"},
		{[]string{"--imap-tls-listen="}, "--imap-listen: nobody can log in"},
		{[]string{cert}, "--imap-tls-cert: needs --imap-tls-key"},
		{[]string{"--imap-listen=", "--imap-tls-listen="}, "there is no listener"},
		{[]string{cert, key, "--imap-proxy-listen=:1"}, "--imap-trusted-proxies: is empty"},
		{[]string{cert, key, "--imap-max-message-size=1KB"}, "--imap-max-message-size"},
		{[]string{cert, key, "--imap-login-timeout=0s"}, "--imap-login-timeout"},
		{[]string{cert, key, "--imap-max-auth-failures=0"}, "--imap-max-auth-failures"},
	} {
		_, err := configured(t, c.args...)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q: %v", c.args, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q: got %v, want %q", c.args, err, c.want)
		}
	}
}

// TestServe greets on both listeners, also behind a proxy, and says goodbye when it stops.
func TestServe(t *testing.T) {
	cert, key, err := tlsconf.SelfSigned(t.TempDir(), "imap.example.test")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := configured(t, "--imap-listen=127.0.0.1:0", "--imap-tls-listen=127.0.0.1:0", "--imap-proxy-listen=127.0.0.1:0", "--imap-trusted-proxies=127.0.0.0/8",
		"--imap-tls-cert="+cert, "--imap-tls-key="+key, "--imap-hostname=imap.example.test", "--imap-drain-window=10ms")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	in := rpc.NewInproc(log, nil)
	storagev1.RegisterStorageServiceServer(in, storagev1.UnimplementedStorageServiceServer{})
	conn := in.Client("imap")
	server, err := New(t.Context(), cfg, Deps{
		Directory: directoryv1.NewDirectoryServiceClient(conn), Quota: quotav1.NewQuotaServiceClient(conn), Storage: storagev1.NewStorageServiceClient(conn),
		Log: log, Registerer: prometheus.NewRegistry(), Now: time.Now, Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- lifecycle.Run(ctx, log, server.Components()...) }()

	var readers []*bufio.Reader
	for _, listener := range []string{"imap", "imaps", "imap-proxy"} {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Addr(listener).String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		switch listener {
		case "imaps":
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		case "imap-proxy":
			if _, err := io.WriteString(conn, "PROXY TCP4 192.0.2.1 192.0.2.2 4000 143\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		r := bufio.NewReader(conn)
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "* OK [CAPABILITY IMAP4rev2 IMAP4rev1 ") || !strings.Contains(line, "] imap.example.test Yubin ready (session ") {
			t.Fatalf("%s: greeting is %q, %v", listener, line, err)
		}
		if secure := listener == "imaps"; strings.Contains(line, "STARTTLS") == secure || strings.Contains(line, "AUTH=PLAIN") != secure {
			t.Errorf("%s: wrong capabilities: %q", listener, line)
		}
		readers = append(readers, r)
	}
	stop()
	for _, r := range readers {
		line, err := r.ReadString('\n')
		if err != nil || line != "* BYE server is shutting down, connect again\r\n" {
			t.Errorf("at the end came %q, %v", line, err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if server.Addr("imaps-proxy") != nil {
		t.Error("a listener that is off has an address")
	}
}
