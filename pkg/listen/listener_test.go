package listen

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
)

var loopback = config.Prefixes{netip.MustParsePrefix("127.0.0.0/8")}

func testOptions(limits Limits) Options {
	limits.NetworkBitsV4, limits.NetworkBitsV6 = 32, 64
	return Options{
		Name: "test", Limiter: NewLimiter(limits), Metrics: NewMetrics(prometheus.NewRegistry(), "smtp"),
		Log:      slog.New(slog.DiscardHandler),
		OnRefuse: func(c net.Conn) { _, _ = io.WriteString(c, "421 too many\r\n") },
	}
}

func openTest(t *testing.T, opts Options) net.Listener {
	t.Helper()
	l, err := Open(t.Context(), "127.0.0.1:0", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// client connects and sends a first text, which may be empty.
func client(t *testing.T, l net.Listener, text string) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func read(t *testing.T, c net.Conn) string {
	t.Helper()
	text, err := io.ReadAll(c)
	if err != nil && len(text) == 0 && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	return string(text)
}

func refused(opts Options, reason string) float64 {
	return testutil.ToFloat64(opts.Metrics.refused.WithLabelValues("test", reason))
}

func TestLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		limits Limits
		reason string
	}{
		"total":   {Limits{MaxConns: 1, MaxConnsPerNetwork: 10}, reasonTotal},
		"network": {Limits{MaxConns: 10, MaxConnsPerNetwork: 1}, reasonNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			opts := testOptions(tc.limits)
			l := openTest(t, opts)
			client(t, l, "")
			first := accept(t, l)
			if got := read(t, client(t, l, "")); got != "421 too many\r\n" {
				t.Errorf("refused with %q", got)
			}
			if got := refused(opts, tc.reason); got != 1 {
				t.Errorf("%v refusals are counted", got)
			}
			if got := testutil.ToFloat64(opts.Metrics.open.WithLabelValues("test")); got != 1 {
				t.Errorf("%v open connections are counted", got)
			}
			_ = first.Close()
			_ = first.Close() // gives its place back once
			client(t, l, "")
			_ = accept(t, l).Close()
			if n := opts.Limiter.total + len(opts.Limiter.byNetwork); n != 0 {
				t.Errorf("%d places are lost", n)
			}
			if got := testutil.ToFloat64(opts.Metrics.open.WithLabelValues("test")); got != 0 {
				t.Errorf("%v open connections are counted", got)
			}
		})
	}
}

func TestRefusalWithoutWords(t *testing.T) {
	opts := testOptions(Limits{MaxConns: 0, MaxConnsPerNetwork: 1})
	opts.OnRefuse = nil
	l := openTest(t, opts)
	if got := read(t, client(t, l, "")); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestListenersShareTheLimiter(t *testing.T) {
	opts := testOptions(Limits{MaxConns: 1, MaxConnsPerNetwork: 1})
	a, b := openTest(t, opts), openTest(t, opts)
	client(t, a, "")
	accept(t, a)
	if got := read(t, client(t, b, "")); got != "421 too many\r\n" {
		t.Errorf("refused with %q", got)
	}
}

func TestProxyProtocol(t *testing.T) {
	opts := testOptions(Limits{MaxConns: 10, MaxConnsPerNetwork: 1})
	opts.Proxy, opts.TrustedProxies = true, loopback
	l := openTest(t, opts)
	v2, err := proxyproto.HeaderProxyFromAddrs(2,
		&net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 99}, &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 25}).Format()
	if err != nil {
		t.Fatal(err)
	}
	for want, header := range map[string]string{
		"203.0.113.9:1234": "PROXY TCP4 203.0.113.9 192.0.2.1 1234 25\r\n",
		"[2001:db8::7]:99": string(v2),
	} {
		client(t, l, header+"EHLO x\r\n")
		c := accept(t, l)
		if got := c.RemoteAddr().String(); got != want {
			t.Errorf("client is %s, want %s", got, want)
		}
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "EHLO x\r\n" {
			t.Errorf("got %q, %v", line, err)
		}
	}
	// The limit is of the client's network, not the proxy's.
	if got := read(t, client(t, l, "PROXY TCP6 2001:db8::8 2001:db8::1 99 25\r\n")); got != "421 too many\r\n" {
		t.Errorf("second client of a /64: %q", got)
	}
	if got := refused(opts, reasonNetwork); got != 1 {
		t.Errorf("%v refusals for the network", got)
	}
	// A connection without a header says nothing and is told nothing.
	if got := read(t, client(t, l, "EHLO attacker.test\r\n\r\n")); got != "" {
		t.Errorf("without header: %q", got)
	}
	if got := refused(opts, reasonHeader); got != 1 {
		t.Errorf("%v refusals for the header", got)
	}
}

func TestUntrustedProxy(t *testing.T) {
	opts := testOptions(Limits{MaxConns: 10, MaxConnsPerNetwork: 10})
	opts.Proxy, opts.TrustedProxies = true, config.Prefixes{netip.MustParsePrefix("10.0.0.0/8")}
	l := openTest(t, opts)
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if got := read(t, c); got != "" {
		t.Errorf("got %q", got)
	}
	if got := refused(opts, reasonUntrusted); got != 1 {
		t.Errorf("%v refusals", got)
	}
}

func TestSlowProxyDoesNotBlockOthers(t *testing.T) {
	opts := testOptions(Limits{MaxConns: 10, MaxConnsPerNetwork: 10})
	opts.Proxy, opts.TrustedProxies = true, loopback
	l := openTest(t, opts)
	for range 5 {
		client(t, l, "PRO") // and nothing more
	}
	client(t, l, "PROXY TCP4 203.0.113.9 192.0.2.1 1234 25\r\n")
	if got := accept(t, l).RemoteAddr().String(); got != "203.0.113.9:1234" {
		t.Errorf("got %s", got)
	}
}

func TestClose(t *testing.T) {
	opts := testOptions(Limits{MaxConns: 10, MaxConnsPerNetwork: 10})
	l := openTest(t, opts)
	client(t, l, "")
	c := accept(t, l)
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Write([]byte("still here")); err != nil {
		t.Errorf("an accepted connection was closed: %v", err)
	}
	if _, err := Open(context.Background(), "203.0.113.1:1", opts); err == nil {
		t.Error("a foreign address was opened")
	}
}

// flaky fails to accept a few times, as for want of file descriptors, and then for good.
type flaky struct {
	net.Listener
	failures int
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.failures > 0 {
		f.failures--
		return nil, errors.New("too many open files")
	}
	return f.Listener.Accept()
}

func TestAcceptGoesOnAfterFailures(t *testing.T) {
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := wrap(&flaky{inner, 3}, testOptions(Limits{MaxConns: 10, MaxConnsPerNetwork: 10}))
	defer func() { _ = l.Close() }()
	client(t, l, "")
	accept(t, l)
}

func TestNetwork(t *testing.T) {
	l := NewLimiter(Limits{NetworkBitsV4: 24, NetworkBitsV6: 64})
	for addr, want := range map[string]string{
		"192.0.2.77": "192.0.2.0/24", "::ffff:192.0.2.78": "192.0.2.0/24", "2001:db8::1": "2001:db8::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := l.network(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s: got %s", addr, got)
		}
	}
	if got := l.network(addrOf(&net.UnixAddr{Name: "/x"})); got.IsValid() {
		t.Errorf("got %v", got)
	}
	if got := addrOf(fakeAddr("192.0.2.1:25")); got.String() != "192.0.2.1" {
		t.Errorf("got %v", got)
	}
}

type fakeAddr string

func (fakeAddr) Network() string  { return "fake" }
func (a fakeAddr) String() string { return string(a) }

func TestFlagsAndValidate(t *testing.T) {
	var l Limits
	fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
	l.Flags(fs, "smtp")
	if errs := l.Validate("smtp"); len(errs) != 0 {
		t.Errorf("the defaults are refused: %v", errs)
	}
	if err := fs.Parse([]string{"--smtp-max-connections=0", "--smtp-max-connections-per-network=0", "--smtp-network-bits-v4=33", "--smtp-network-bits-v6=1"}); err != nil {
		t.Fatal(err)
	}
	errs := l.Validate("smtp")
	if len(errs) != 4 || !strings.HasPrefix(fmt.Sprint(errs[0]), "--smtp-max-connections: 0") {
		t.Errorf("got %v", errs)
	}
}
