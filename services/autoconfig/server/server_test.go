package server

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
)

func configured(t *testing.T, args ...string) (Config, error) {
	t.Helper()
	var c Config
	fs := pflag.NewFlagSet("autoconfig", pflag.ContinueOnError)
	c.Flags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c, config.Check(c.Validate())
}

func TestValidate(t *testing.T) {
	for args, want := range map[string]string{
		"--autoconfig-listen=:8081":     "",
		"":                              "no listener",
		"--autoconfig-listen=8081":      "is no address",
		"--autoconfig-tls-listen=:8443": "needs a certificate",
		"--autoconfig-listen=:1 --autoconfig-hostname=":                              "is empty",
		"--autoconfig-listen=:1 --autoconfig-url=http://mail.example.com":            "https://",
		"--autoconfig-listen=:1 --autoconfig-imaps-port=70000":                       "--autoconfig-imaps-port",
		"--autoconfig-listen=:1 --autoconfig-max-connections=0":                      "--autoconfig-max-connections",
		"--autoconfig-listen=:1 --autoconfig-url=https://mail.example.com/settings/": "",
	} {
		_, err := configured(t, strings.Fields(args)...)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", args, err, want)
		}
	}
}

// start serves on loopback until the test ends.
func start(t *testing.T, registry *prometheus.Registry, args ...string) *Server {
	t.Helper()
	cfg, err := configured(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(t.Context(), cfg, Deps{Log: slog.New(slog.DiscardHandler), Registerer: registry, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Components()[0].Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return s
}

func TestHTTPAndHTTPS(t *testing.T) {
	cert, key, err := tlsconf.SelfSigned(t.TempDir(), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	s := start(t, registry, "--autoconfig-listen=127.0.0.1:0", "--autoconfig-tls-listen=127.0.0.1:0", "--autoconfig-tls-cert="+cert, "--autoconfig-tls-key="+key,
		"--autoconfig-hostname=mail.example.com", "--autoconfig-url=https://mail.example.com/")
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}, // the test's own
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	do := func(method, listener, path, host, body string) (int, http.Header, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, listener+"://"+s.Addr(listener).String()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		answer, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, answer.Header, string(text)
	}
	const request = `<Autodiscover><Request><EMailAddress>alice@example.org</EMailAddress></Request></Autodiscover>`
	for _, c := range []struct {
		method, listener, path, host, body string
		status                             int
		want                               string // in the answer, or in Location
	}{
		{"GET", "http", "/mail/config-v1.1.xml?emailaddress=alice%40example.org", "autoconfig.example.net", "", 200, "<domain>example.org</domain>"},
		{"GET", "https", "/mail/config-v1.1.xml", "autoconfig.example.net:8443", "", 200, "<domain>example.net</domain>"},
		{"GET", "http", "/.well-known/autoconfig/mail/config-v1.1.xml", "Example.NET", "", 200, "<domain>example.net</domain>"},
		{"GET", "http", "/.well-known/autoconfig/mail/config-v1.1.xml", "192.0.2.1", "", 200, "<hostname>mail.example.com</hostname>"},
		{"POST", "http", "/mail/config-v1.1.xml", "example.net", "", 405, "Not Allowed"},
		{"POST", "https", "/AutoDiscover/AutoDiscover.XML", "autodiscover.example.org", request, 200, "<LoginName>alice@example.org</LoginName>"},
		{"POST", "http", "/autodiscover/autodiscover.xml", "autodiscover.example.org", "<nonsense", 200, "<ErrorCode>600</ErrorCode>"},
		{"POST", "http", "/autodiscover/autodiscover.xml", "autodiscover.example.org", strings.Repeat(" ", 1<<20) + request, 200, "<ErrorCode>600</ErrorCode>"},
		{"GET", "http", "/autodiscover/autodiscover.xml", "autodiscover.example.org", "", 302, "https://mail.example.com/autodiscover/autodiscover.xml"},
		{"GET", "https", "/autodiscover/autodiscover.xml", "autodiscover.example.org", "", 200, "<ErrorCode>600</ErrorCode>"},
		{"GET", "https", "/email.mobileconfig?email=alice%40example.org", "mail.example.com", "", 200, "com.apple.mail.managed"},
		{"GET", "http", "/email.mobileconfig", "mail.example.com", "", 400, "Give your address"},
		{"GET", "http", "/email.mobileconfig?email=postmaster", "mail.example.com", "", 400, "Give your address"},
		{"GET", "http", "/", "mail.example.com", "", 404, "not found"},
	} {
		status, header, text := do(c.method, c.listener, c.path, c.host, c.body)
		if status != c.status || !strings.Contains(text+header.Get("Location"), c.want) {
			t.Errorf("%s %s %s: %d %s %s, want %d %s", c.method, c.listener, c.path, status, header.Get("Location"), text, c.status, c.want)
		}
	}
	if n := testutil.CollectAndCount(registry, "yubin_autoconfig_requests_total"); n != 7 {
		t.Errorf("%d series of requests", n)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

func TestHeadIsAnswered(t *testing.T) {
	h := newHandler(Config{}.settings, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "x"}, []string{"kind", "status"}), Deps{Now: time.Now})
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest(http.MethodHead, "/mail/config-v1.1.xml", nil))
	if answer.Code != http.StatusOK || answer.Header().Get("Content-Type") != "text/xml; charset=utf-8" {
		t.Errorf("%d %v", answer.Code, answer.Header())
	}
}

func TestTakenPort(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	cfg, err := configured(t, "--autoconfig-listen="+taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), cfg, Deps{Log: slog.New(slog.DiscardHandler), Now: time.Now}); err == nil || !strings.Contains(err.Error(), "--autoconfig-listen: another program has this port") {
		t.Fatalf("a taken port gave %v", err)
	}
}
