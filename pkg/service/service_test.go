package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
)

type settings struct{ listen string }

func (s *settings) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.listen, "quota-listen", "127.0.0.1:0", "address")
}

func (s *settings) Validate() []error {
	if s.listen == "bad" {
		return []error{config.Errorf("quota-listen", "bad")}
	}
	return nil
}

// buffer may be written to by several goroutines.
type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func begin(t *testing.T, run func(context.Context, *Service, *settings) error, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs buffer
	code = execute(t.Context(), "quota", &settings{}, &common{}, run, process{args, environ, &out, &errs})
	return code, out.String(), errs.String()
}

func mustNotRun(context.Context, *Service, *settings) error { panic("it ran") }

func TestHelpAndVersion(t *testing.T) {
	if code, out, _ := begin(t, mustNotRun, nil, "--help"); code != exitOK || !strings.Contains(out, "--quota-listen") || !strings.Contains(out, "--rpc-ca") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ := begin(t, mustNotRun, nil, "--version"); code != exitOK || out != "quota "+Version()+"\n" || Version() == "" {
		t.Errorf("%d %s", code, out)
	}
}

func TestConfigurationErrors(t *testing.T) {
	code, _, text := begin(t, mustNotRun, []string{"YUBIN_NONSENSE=1"}, "--log-level=loud", "--shutdown-delay=x")
	if code != exitConfig || !strings.Contains(text, "\n  --shutdown-delay: \"x\"") || !strings.Contains(text, "\n  environment YUBIN_NONSENSE:") {
		t.Errorf("%d %s", code, text)
	}
	code, _, text = begin(t, mustNotRun, nil, "--log-level=loud", "--log-format=xml", "--admin-listen=x", "--quota-listen=bad", "--shutdown-delay=-1s")
	if code != exitConfig {
		t.Errorf("exit code %d", code)
	}
	for _, flag := range []string{"log-level", "log-format", "admin-listen", "quota-listen", "rpc-ca", "rpc-cert", "rpc-key", "shutdown-delay"} {
		if !strings.Contains(text, "\n  --"+flag+": ") {
			t.Errorf("nothing about %s in\n%s", flag, text)
		}
	}
}

// files issues the certificate of a service, and gives its flags.
func files(t *testing.T, ca *tlsconf.Authority, service string) []string {
	t.Helper()
	f, err := ca.Issue(service)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"--rpc-ca=" + f.CA, "--rpc-cert=" + f.Cert, "--rpc-key=" + f.Key, "--admin-listen=127.0.0.1:0"}
}

func newAuthority(t *testing.T) *tlsconf.Authority {
	t.Helper()
	ca, err := tlsconf.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestRunFailure(t *testing.T) {
	broken := errors.New("disk on fire")
	args := files(t, newAuthority(t), "quota")
	code, _, text := begin(t, func(context.Context, *Service, *settings) error { return broken }, nil, args...)
	if code != exitFailed || !strings.Contains(text, "disk on fire") || !strings.Contains(text, `"service":"quota"`) {
		t.Errorf("%d %s", code, text)
	}
	code, _, text = begin(t, func(ctx context.Context, s *Service, _ *settings) error {
		return s.Run(ctx, lifecycle.Component{Name: "part", Run: func(context.Context) error { return broken }})
	}, nil, args...)
	if code != exitFailed || !strings.Contains(text, "part: disk on fire") {
		t.Errorf("%d %s", code, text)
	}
	args[0] = "--rpc-ca=" + filepath.Join(t.TempDir(), "missing")
	code, _, text = begin(t, func(_ context.Context, s *Service, _ *settings) error {
		if _, err := s.RPCServer(); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("server: %w", err)
		}
		_, err := s.Dial("127.0.0.1:1", "storage")
		return err
	}, nil, args...)
	if code != exitFailed || !strings.Contains(text, "set up connection to storage") {
		t.Errorf("%d %s", code, text)
	}
}

type quota struct {
	quotav1.UnimplementedQuotaServiceServer
}

func (quota) Check(ctx context.Context, _ *quotav1.CheckRequest) (*quotav1.CheckResponse, error) {
	return &quotav1.CheckResponse{Usage: &quotav1.Usage{AccountId: rpc.Caller(ctx)}}, nil
}

// TestTwoServicesTalk runs a server and a client as their mains would, and stops the server.
func TestTwoServicesTalk(t *testing.T) {
	ca, addr, admin := newAuthority(t), freeAddr(t), freeAddr(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	serverDone := make(chan int, 1)
	var serverLog buffer
	go func() {
		args := append(files(t, ca, "quota"), "--quota-listen="+addr, "--admin-listen="+admin)
		serverDone <- execute(ctx, "quota", &settings{}, &common{}, func(ctx context.Context, s *Service, cfg *settings) error {
			srv, err := s.RPCServer()
			if err != nil {
				return err
			}
			quotav1.RegisterQuotaServiceServer(srv, quota{})
			return s.Run(ctx, rpc.Component(cfg.listen, srv, s.Log))
		}, process{args, nil, io.Discard, &serverLog})
	}()
	code, _, text := begin(t, func(ctx context.Context, s *Service, _ *settings) error {
		conn, err := s.Dial(addr, "quota")
		if err != nil {
			return err
		}
		client := quotav1.NewQuotaServiceClient(conn)
		resp, err := client.Check(ctx, &quotav1.CheckRequest{})
		for ; rpc.Transient(err); resp, err = client.Check(ctx, &quotav1.CheckRequest{}) {
			if ctx.Err() != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		if got := resp.GetUsage().GetAccountId(); got != "smtp" {
			return fmt.Errorf("called as %q", got)
		}
		return nil
	}, nil, files(t, ca, "smtp")...)
	if code != exitOK {
		t.Errorf("client: %d %s\n%s", code, text, serverLog.String())
	}
	if body := get(t, "http://"+admin+"/metrics"); !strings.Contains(body, "grpc_server_handled_total") {
		t.Error("no metrics of the call")
	}
	stop()
	if code := <-serverDone; code != exitOK {
		t.Errorf("server: %d\n%s", code, serverLog.String())
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
