package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// world is a gateway before a directory and a storage.
type world struct {
	t         *testing.T
	srv       *Server
	directory *directory
	storage   *storage
	registry  *prometheus.Registry
	stop      context.CancelFunc
	stopped   chan struct{} // closed when the gateway has ended
}

func newWorld(t *testing.T, st *storage, args ...string) *world {
	t.Helper()
	cert, key, err := tlsconf.SelfSigned(t.TempDir(), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	var cfg Config
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	cfg.Flags(fs)
	args = append([]string{"--pop3-hostname=pop.example.test", "--pop3-listen=127.0.0.1:0", "--pop3-tls-listen=127.0.0.1:0",
		"--pop3-proxy-listen=127.0.0.1:0", "--pop3-trusted-proxies=127.0.0.0/8", "--pop3-insecure-auth",
		"--pop3-drain-window=0s", "--pop3-tls-cert=" + cert, "--pop3-tls-key=" + key}, args...)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cfg.Validate()...); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, directory: &directory{policy: directoryv1.PopDelete_POP_DELETE_EXPUNGE}, storage: st,
		registry: prometheus.NewPedanticRegistry(), stopped: make(chan struct{})}
	log := slog.New(slog.DiscardHandler)
	in := rpc.NewInproc(log, nil)
	directoryv1.RegisterDirectoryServiceServer(in, w.directory)
	storagev1.RegisterStorageServiceServer(in, w.storage)
	own := in.Client("pop3")
	w.srv, err = New(t.Context(), cfg, Deps{Log: log, Registerer: w.registry,
		Directory: directoryv1.NewDirectoryServiceClient(own), Storage: storagev1.NewStorageServiceClient(own)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	go func() {
		defer close(w.stopped)
		if err := w.srv.Components()[0].Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-w.stopped
	})
	return w
}

// client talks POP3 as a person would, line by line.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// clientTLS takes the self-signed certificate of the test.
var clientTLS = &tls.Config{InsecureSkipVerify: true}

func (w *world) dial(listener string) *client {
	w.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", w.srv.Addr(listener).String())
	if err != nil {
		w.t.Fatal(err)
	}
	if listener == "pop3s" {
		conn = tls.Client(conn, clientTLS)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	// A guard against a test that hangs, not a measurement.
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return &client{w.t, conn, bufio.NewReader(conn)}
}

// connect dials and reads the greeting.
func (w *world) connect() *client {
	w.t.Helper()
	c := w.dial("pop3")
	if greeting := c.line(); !strings.HasPrefix(greeting, "+OK Yubin POP3 server pop.example.test (session ") {
		w.t.Fatalf("greeting %q", greeting)
	}
	return c
}

// login gives a session in the TRANSACTION state.
func (w *world) login() *client {
	w.t.Helper()
	c := w.connect()
	c.ok("USER alice")
	c.ok("PASS " + password)
	return c
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read: %v after %q", err, line)
	}
	trimmed, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		c.t.Fatalf("line %q", line)
	}
	return trimmed
}

func (c *client) want(line string) {
	c.t.Helper()
	if got := c.line(); got != line {
		c.t.Fatalf("got %q, want %q", got, line)
	}
}

// cmd sends a command and gives the first line of the answer.
func (c *client) cmd(command string) string {
	c.t.Helper()
	c.send(command + "\r\n")
	return c.line()
}

func (c *client) ok(command string) string {
	c.t.Helper()
	answer := c.cmd(command)
	if !strings.HasPrefix(answer, "+OK ") {
		c.t.Fatalf("%s: %s", command, answer)
	}
	return answer[len("+OK "):]
}

// fails wants -ERR with what follows it to begin so.
func (c *client) fails(command, begin string) {
	c.t.Helper()
	if answer := c.cmd(command); !strings.HasPrefix(answer, "-ERR "+begin) {
		c.t.Fatalf("%s: %s, want -ERR %s", command, answer, begin)
	}
}

// multi gives the lines of a longer answer, unstuffed.
func (c *client) multi(command string) (lines []string) {
	c.t.Helper()
	c.ok(command)
	return c.lines()
}

func (c *client) lines() (lines []string) {
	c.t.Helper()
	for {
		line := c.line()
		if line == "." {
			return lines
		}
		lines = append(lines, strings.TrimPrefix(line, "."))
	}
}

// closed wants the connection to end here.
func (c *client) closed() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") || len(rest) > 0 {
		c.t.Fatalf("after the end: %q, %v", rest, err)
	}
}
