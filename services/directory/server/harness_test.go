package server

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/sasl"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

const (
	alice  = "alice@example.test"
	secret = "demo-password"
)

// system is a directory with the domain example.test and the account of alice, reached over the in-process transport.
type system struct {
	t        *testing.T
	registry *prometheus.Registry
	audit    buffer
	clock    *clock
	server   *Server
	in       *rpc.Inproc
	gateway  directoryv1.DirectoryServiceClient
	admin    directoryv1.DirectoryAdminServiceClient
}

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// cheap are flags that make a password cost little.
var cheap = []string{"--directory-argon2-memory=1MiB", "--directory-argon2-time=1", "--directory-scram-iterations=4096"}

func start(t *testing.T, flags ...string) *system {
	t.Helper()
	s := open(t, t.TempDir(), flags...)
	ctx := t.Context()
	if _, err := s.admin.PutDomain(ctx, &directoryv1.PutDomainRequest{Domain: &directoryv1.Domain{Name: "example.test"}}); err != nil {
		t.Fatal(err)
	}
	s.create(alice, secret)
	return s
}

func open(t *testing.T, dir string, flags ...string) *system {
	t.Helper()
	cfg := Config{Dir: dir}
	fs := pflag.NewFlagSet("directory", pflag.ContinueOnError)
	cfg.Flags(fs)
	if err := fs.Parse(append(append([]string{}, cheap...), flags...)); err != nil {
		t.Fatal(err)
	}
	if errs := cfg.Validate(); len(errs) > 0 {
		t.Fatal(errs)
	}
	s := &system{t: t, registry: prometheus.NewRegistry(), clock: &clock{t: time.Unix(1_700_000_000, 0)}}
	log := slog.New(slog.DiscardHandler)
	audit, err := telemetry.AuditLogger(&s.audit, "json")
	if err != nil {
		t.Fatal(err)
	}
	srv, err := New(t.Context(), cfg, Deps{Log: log, Audit: audit, Registerer: s.registry, Now: s.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	s.server = srv
	s.in = rpc.NewInproc(log, s.registry)
	s.in.Audit(audit)
	srv.Register(s.in)
	s.gateway = directoryv1.NewDirectoryServiceClient(s.in.Client("smtp"))
	s.admin = directoryv1.NewDirectoryAdminServiceClient(s.in.Client("admin"))
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		for _, c := range srv.Components() {
			if err := c.Run(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

func (s *system) create(address, password string) *directoryv1.Account {
	s.t.Helper()
	resp, err := s.admin.CreateAccount(s.t.Context(), &directoryv1.CreateAccountRequest{Address: address, Password: password})
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.GetAccount()
}

func (s *system) setPassword(address, password string) {
	s.t.Helper()
	if _, err := s.admin.SetPassword(s.t.Context(), &directoryv1.SetPasswordRequest{Address: address, Password: password}); err != nil {
		s.t.Fatal(err)
	}
}

// from is a client's start.
func from(ip, protocol string) *directoryv1.AuthenticateRequest_Start {
	return &directoryv1.AuthenticateRequest_Start{ClientIp: ip, Tls: true, Protocol: protocol}
}

// plain logs in with PLAIN and gives the reason of the failure, REASON_UNSPECIFIED for success.
func (s *system) plain(ip, user, password string) rpcv1.Reason {
	s.t.Helper()
	account, err := sasl.Plain(s.t.Context(), s.gateway, user, password, from(ip, "imap"))
	return s.reason(account, err)
}

func (s *system) reason(account *directoryv1.Account, err error) rpcv1.Reason {
	s.t.Helper()
	if (err == nil) != (account.GetAccountId() != "") {
		s.t.Fatalf("account %v, error %v", account, err)
	}
	return fault.Reason(err)
}

// metric sums the values (of a histogram the count) of a metric's series with the label values, given as name, value pairs.
func (s *system) metric(name string, labels ...string) float64 {
	s.t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			match := true
			for i := 0; i < len(labels); i += 2 {
				match = match && has[labels[i]] == labels[i+1]
			}
			if match {
				sum += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func (s *system) computed() int { return int(s.metric("yubin_directory_argon2_seconds")) }

func (s *system) expect(what string, got, want rpcv1.Reason) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("%s: %v, want %v", what, got, want)
	}
}
