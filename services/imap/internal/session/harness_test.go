package session

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/listen"
	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/imapcheck"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
)

// directory knows alice with the password "secret"; mallory is disabled.
type directory struct {
	directoryv1.UnimplementedDirectoryServiceServer
}

func (directory) Authenticate(stream directoryv1.DirectoryService_AuthenticateServer) error {
	req, err := stream.Recv()
	if err != nil {
		return err
	}
	response := req.GetStart().GetInitialResponse()
	if req.GetStart().InitialResponse == nil {
		if err := stream.Send(&directoryv1.AuthenticateResponse{Message: &directoryv1.AuthenticateResponse_Challenge{}}); err != nil {
			return err
		}
		if req, err = stream.Recv(); err != nil {
			return err
		}
		response = req.GetResponse()
	}
	parts := strings.Split(string(response), "\x00")
	if len(parts) != 3 || parts[2] != "secret" {
		return fault.New(codes.Unauthenticated, rpcv1.Reason_REASON_AUTHENTICATION_FAILED, "wrong user name or password")
	}
	if parts[1] == "mallory" {
		return fault.New(codes.PermissionDenied, rpcv1.Reason_REASON_ACCOUNT_DISABLED, "account is disabled")
	}
	return stream.Send(&directoryv1.AuthenticateResponse{Message: &directoryv1.AuthenticateResponse_Success_{
		Success: &directoryv1.AuthenticateResponse_Success{Account: &directoryv1.Account{AccountId: parts[1]}},
	}})
}

// GetAccount knows nobody by address.
func (directory) GetAccount(context.Context, *directoryv1.GetAccountRequest) (*directoryv1.GetAccountResponse, error) {
	return nil, fault.New(codes.NotFound, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND, "there is no such account")
}

// quota has 10,000 octets and 500 messages for everybody but "unlimited".
type quota struct {
	quotav1.UnimplementedQuotaServiceServer
}

func (quota) Check(_ context.Context, req *quotav1.CheckRequest) (*quotav1.CheckResponse, error) {
	return &quotav1.CheckResponse{Fits: req.Bytes <= 10_000}, nil
}

func (quota) GetUsage(_ context.Context, req *quotav1.GetUsageRequest) (*quotav1.GetUsageResponse, error) {
	if req.AccountId == "unlimited" {
		return &quotav1.GetUsageResponse{Usage: &quotav1.Usage{LimitBytes: -1, UsedBytes: 1025, LimitMessages: -1, UsedMessages: 3}}, nil
	}
	return &quotav1.GetUsageResponse{Usage: &quotav1.Usage{LimitBytes: 10_000, UsedBytes: 1025, LimitMessages: 500, UsedMessages: 3}}, nil
}

// gateway is an engine on a loopback listener, with storage in memory.
type gateway struct {
	t        testing.TB
	storage  *memory
	engine   *Engine
	sessions *listen.Sessions
	addr     string
	ended    chan struct{} // a session has ended
}

func newGateway(t testing.TB, change ...func(*Options)) *gateway {
	g := &gateway{t: t, storage: newMemory(), sessions: listen.NewSessions(), ended: make(chan struct{}, 1000)}
	log := slog.New(slog.DiscardHandler)
	in := rpc.NewInproc(log, nil)
	storagev1.RegisterStorageServiceServer(in, g.storage)
	directoryv1.RegisterDirectoryServiceServer(in, directory{})
	quotav1.RegisterQuotaServiceServer(in, quota{})
	conn := in.Client("imap")
	views := view.NewManager(storagev1.NewStorageServiceClient(conn), view.Options{Log: log, MaxBackoff: 50 * time.Millisecond})
	opts := Options{
		Log: log, Now: time.Now, Hostname: "imap.example.test", Version: "test",
		Storage: storagev1.NewStorageServiceClient(conn), Directory: directoryv1.NewDirectoryServiceClient(conn), Quota: quotav1.NewQuotaServiceClient(conn),
		Views: views, Sessions: g.sessions, InsecureAuth: true,
		Limits: Limits{
			Compress:     true,
			Pipeline:     4,
			LoginTimeout: time.Minute, Idle: time.Minute, Command: time.Minute, Stall: time.Minute, Write: time.Minute, RPC: 10 * time.Second, Bulk: 10 * time.Second,
			MessageSize: 1 << 20, AccountSessions: 20, LoginFailures: 3, BadCommands: 10,
		},
	}
	for _, fn := range change {
		fn(&opts)
	}
	g.engine = New(opts)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { views.Run(ctx) })
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				g.engine.Serve(ctx, conn, false)
				g.ended <- struct{}{}
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		drain, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		g.sessions.Drain(drain, 0, "test ends")
		cancel()
		views.Close()
		running.Wait()
	})
	return g
}

func withTLS(t testing.TB) func(*Options) {
	cert, key, err := tlsconf.SelfSigned(t.TempDir(), "imap.example.test")
	if err != nil {
		t.Fatal(err)
	}
	config, err := tlsconf.Load(cert, key, tlsconf.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return func(o *Options) { o.TLS, o.InsecureAuth = config, false }
}

// withTLSOffered is withTLS where passwords are taken without it, too.
func withTLSOffered(t testing.TB) func(*Options) {
	secure := withTLS(t)
	return func(o *Options) {
		secure(o)
		o.InsecureAuth = true
	}
}

// talk is a raw connection: what is sent and what comes are seen as they are.
type talk struct {
	t    testing.TB
	conn net.Conn
	r    *heard
	// plain is below what inflates, if something does.
	plain *bufio.Reader
	n     int
}

// heard is what a server says, each response of which is held against the grammar.
type heard struct {
	*bufio.Reader
	check *imapcheck.Checker
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	_, _ = h.check.Write(p[:n]) // never fails
	return n, err
}

func (h *heard) ReadString(delim byte) (string, error) {
	text, err := h.Reader.ReadString(delim)
	_, _ = h.check.Write([]byte(text)) // never fails
	return text, err
}

// from goes on with what comes by another reader.
func (h *heard) from(r io.Reader) { h.Reader = bufio.NewReader(r) }

// checkerOf gives a checker of a connection.
func checkerOf(t testing.TB) *imapcheck.Checker {
	return imapcheck.New(func(err error) { t.Errorf("the server's grammar: %v", err) })
}

// heardConn is the connection of a client library.
type heardConn struct {
	net.Conn
	check *imapcheck.Checker
}

func (c heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	_, _ = c.check.Write(p[:n]) // never fails
	return n, err
}

// connect opens a connection and reads the greeting.
func (g *gateway) connect() *talk {
	g.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(g.t.Context(), "tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	k := &talk{t: g.t, conn: conn, r: &heard{bufio.NewReader(conn), checkerOf(g.t)}}
	if line := k.line(); !strings.HasPrefix(line, "* OK [CAPABILITY ") {
		g.t.Fatalf("greeting is %q", line)
	}
	return k
}

// login gives a connection of alice.
func (g *gateway) login() *talk {
	g.t.Helper()
	k := g.connect()
	k.ok("LOGIN alice secret")
	return k
}

// selected gives a connection of alice with a mailbox selected.
func (g *gateway) selected(name string) *talk {
	g.t.Helper()
	k := g.login()
	k.ok("SELECT %s", name)
	return k
}

func (k *talk) send(format string, args ...any) {
	k.t.Helper()
	if _, err := fmt.Fprintf(k.conn, format, args...); err != nil {
		k.t.Fatal(err)
	}
}

// line reads one line; "" at the end of the connection.
func (k *talk) line() string {
	k.t.Helper()
	if err := k.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		k.t.Fatal(err)
	}
	line, err := k.r.ReadString('\n')
	if err != nil && line != "" {
		k.t.Fatalf("line is cut: %q: %v", line, err)
	}
	if timedOut(err) {
		k.t.Fatal("no answer came")
	}
	return strings.TrimSuffix(line, "\r\n")
}

// until reads lines until one has the prefix, and gives them all.
func (k *talk) until(prefix string) []string {
	k.t.Helper()
	var lines []string
	for {
		line := k.line()
		lines = append(lines, line)
		if strings.HasPrefix(line, prefix) {
			return lines
		}
		if line == "" && len(lines) > 1000 {
			k.t.Fatalf("no line with %q came", prefix)
		}
		if line == "" {
			if _, err := k.r.Peek(1); err != nil {
				k.t.Fatalf("the connection ended before %q; got %q", prefix, lines)
			}
		}
	}
}

// do sends a command and gives its untagged lines and the tagged one without its tag.
func (k *talk) do(format string, args ...any) (untagged []string, tagged string) {
	k.t.Helper()
	k.n++
	tag := fmt.Sprintf("a%d", k.n)
	k.send("%s %s\r\n", tag, fmt.Sprintf(format, args...))
	lines := k.until(tag + " ")
	return lines[:len(lines)-1], strings.TrimPrefix(lines[len(lines)-1], tag+" ")
}

func (k *talk) ok(format string, args ...any) []string {
	k.t.Helper()
	untagged, tagged := k.do(format, args...)
	if !strings.HasPrefix(tagged, "OK") {
		k.t.Fatalf("%s: %s", fmt.Sprintf(format, args...), tagged)
	}
	return untagged
}

// expect sends a command and compares everything that comes; the tagged line by its beginning.
func (k *talk) expect(command string, want ...string) {
	k.t.Helper()
	untagged, tagged := k.do("%s", command)
	got := append(slices.Clone(untagged), tagged)
	match := len(got) == len(want)
	for i := range want {
		if match && i == len(want)-1 {
			match = strings.HasPrefix(got[i], want[i])
		} else if match {
			match = got[i] == want[i]
		}
	}
	if !match {
		k.t.Fatalf("%s:\n got:\n  %s\n want:\n  %s", command, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// client gives a go-imap client.
func (g *gateway) client(options *imapclient.Options) *imapclient.Client {
	g.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(g.t.Context(), "tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	c := imapclient.New(heardConn{conn, checkerOf(g.t)}, options)
	g.t.Cleanup(func() { _ = c.Close() })
	return c
}

// startTLS begins TLS on a raw connection.
func (k *talk) startTLS() {
	k.t.Helper()
	k.ok("STARTTLS")
	conn := tls.Client(k.conn, &tls.Config{InsecureSkipVerify: true})
	if err := conn.HandshakeContext(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
	k.conn = conn
	k.r.from(conn)
}
