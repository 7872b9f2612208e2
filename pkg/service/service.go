package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"github.com/yubin-mail/yubin/pkg/admin"
	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/health"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/pkg/telemetry/otlp"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
)

// Exit codes of a service.
const (
	exitOK     = 0
	exitFailed = 1
	exitConfig = 2
)

// Config is the configuration of a service.
type Config interface {
	// Flags declares the settings, with their defaults.
	Flags(fs *pflag.FlagSet)
	// Validate tells all that is wrong with them.
	Validate() []error
}

// Completer is a Config that derives settings from others, before it is validated.
type Completer interface {
	// Complete sets what nobody gave. fs knows what was given: Changed.
	Complete(fs *pflag.FlagSet) error
}

// Service is what every part of a running service is given.
type Service struct {
	Name, Version string
	Log           *slog.Logger
	// Audit is the log of logins and administrative changes; nil if there is none.
	Audit    *slog.Logger
	Registry *prometheus.Registry
	Health   *health.Checks
	// Tracer is nil where traces go nowhere.
	Tracer *telemetry.Tracer

	common      common
	conns       []*grpc.ClientConn
	needs       []lifecycle.Component
	closeTracer func()
}

// Main runs a service that talks to others over mTLS, and exits: with 0 after SIGTERM or SIGINT, with 2 if the
// configuration is wrong, with 1 if run fails. run wires the service and ends in s.Run.
func Main[C Config](name string, cfg C, run func(ctx context.Context, s *Service, cfg C) error) {
	os.Exit(start(name, cfg, &common{}, os.Args[1:], run))
}

// Alone is Main for a process that has all it needs inside, and so no --rpc flags; Dial and RPCServer are not for it. args are the
// program's arguments after the subcommand. The exit code is returned.
func Alone[C Config](name string, cfg C, args []string, run func(ctx context.Context, s *Service, cfg C) error) int {
	return start(name, cfg, &common{alone: true}, args, run)
}

// AloneFlags are the settings of Alone, for completion and help.
func AloneFlags(name string, cfg Config) *pflag.FlagSet {
	return declare(name, cfg, &common{alone: true})
}

func declare(name string, cfg Config, c *common) *pflag.FlagSet {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.SortFlags = false
	c.flags(fs)
	cfg.Flags(fs)
	return fs
}

func start[C Config](name string, cfg C, c *common, args []string, run func(context.Context, *Service, C) error) int {
	ctx, stop := lifecycle.SignalContext(context.Background())
	defer stop()
	return execute(ctx, name, cfg, c, run, process{args, os.Environ(), os.Stdout, os.Stderr})
}

// process is what the operating system gives to a program.
type process struct {
	args, environ  []string
	stdout, stderr io.Writer
}

func execute[C Config](ctx context.Context, name string, cfg C, c *common, run func(context.Context, *Service, C) error, p process) int {
	fs := declare(name, cfg, c)
	err := config.Load(fs, p.args, p.environ)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		config.PrintUsage(p.stdout, name, fs)
		return exitOK
	case c.version:
		_, _ = fmt.Fprintln(p.stdout, name, Version())
		return exitOK
	}
	var incomplete error
	if completer, ok := any(cfg).(Completer); ok {
		incomplete = completer.Complete(fs)
	}
	err = config.Complete(err, config.Check([]error{incomplete}, c.validate(), cfg.Validate()))
	if err != nil {
		_, _ = fmt.Fprintf(p.stderr, "%s: the configuration is wrong:\n  %s\nSee %s --help.\n",
			name, strings.ReplaceAll(err.Error(), "\n", "\n  "), name)
		return exitConfig
	}
	s, err := newService(ctx, name, *c, p.stderr)
	if err != nil {
		_, _ = fmt.Fprintf(p.stderr, "%s: %v\n", name, err)
		return exitFailed
	}
	defer s.close()
	s.Log.Info("starting", "version", s.Version)
	if err := run(ctx, s, cfg); err != nil {
		s.Log.Error("failed", "error", err)
		return exitFailed
	}
	s.Log.Info("stopped")
	return exitOK
}

func newService(ctx context.Context, name string, c common, w io.Writer) (*Service, error) {
	name, _, _ = strings.Cut(name, " ") // of the program, without the subcommand
	w = &lines{w: w}
	log, err := telemetry.Logger(w, c.logLevel, c.logFormat)
	if err != nil {
		return nil, err
	}
	s := &Service{
		Name:     name,
		Version:  Version(),
		Registry: telemetry.Registry(name, Version()),
		Health:   health.NewChecks(),
		common:   c,
	}
	s.Log = telemetry.Counted(log, s.Registry).With("service", name)
	if c.audit {
		audit, err := telemetry.AuditLogger(w, c.logFormat)
		if err != nil {
			return nil, err
		}
		s.Audit = audit.With("service", name)
	}
	telemetry.Register(s.Registry, s.Health)
	s.Tracer, s.closeTracer, err = otlp.Open(ctx, c.trace, name, s.Version, s.Log)
	return s, err
}

// lines lets two loggers write to the same place, a record at a time.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Dial makes a connection to another service, called server in its certificate. It is closed when the service ends.
func (s *Service) Dial(target, server string) (*grpc.ClientConn, error) {
	tls, err := tlsconf.MutualClient(s.common.files, server, s.tlsOptions())
	if err != nil {
		return nil, fmt.Errorf("set up connection to %s: %w", server, err)
	}
	conn, err := rpc.Dial(target, rpc.DialOptions{TLS: tls, Registerer: s.Registry, Wait: s.common.rpcWait})
	if err != nil {
		return nil, fmt.Errorf("set up connection to %s: %w", server, err)
	}
	s.conns = append(s.conns, conn)
	return conn, nil
}

// settleTime is how long a service that had been out of reach must be back before a gateway is ready again.
const settleTime = 3 * time.Second

// DialNeeded is Dial for a gateway, which is not ready while it cannot reach the service. It stays ready for --ready-grace when it loses it: clients
// are told to come again, which is better than a gateway that comes and goes with every restart of a backend.
func (s *Service) DialNeeded(target, server string) (*grpc.ClientConn, error) {
	conn, err := s.Dial(target, server)
	if err != nil {
		return nil, err
	}
	check := s.Health.NewSteady(server, s.common.readyGrace, settleTime)
	s.needs = append(s.needs, lifecycle.Component{Name: "reach-" + server, Run: func(ctx context.Context) error {
		rpc.Reach(ctx, conn, check.Tell)
		return nil
	}})
	return conn, nil
}

// RPCServer makes the gRPC server of this service.
func (s *Service) RPCServer() (*rpc.Server, error) {
	tls, err := tlsconf.MutualServer(s.common.files, s.tlsOptions())
	if err != nil {
		return nil, fmt.Errorf("set up rpc server: %w", err)
	}
	return rpc.NewServer(rpc.ServerOptions{
		Log: s.Log, Audit: s.Audit, Registerer: s.Registry, Tracer: s.Tracer, TLS: tls, Health: s.Health,
	}), nil
}

func (s *Service) tlsOptions() tlsconf.Options {
	return tlsconf.Options{Log: s.Log, Registerer: s.Registry}
}

// Run runs the components until ctx ends or one fails, as lifecycle.Run does. List what others need first. The admin server
// runs around them, and readiness fails before any of them is stopped.
func (s *Service) Run(ctx context.Context, components ...lifecycle.Component) error {
	all := []lifecycle.Component{admin.Component(admin.Options{
		Addr: s.common.adminListen, Checks: s.Health, Gatherer: s.Registry, Pprof: s.common.adminPprof, Log: s.Log,
	})}
	all = append(all, s.needs...)
	all = append(all, components...)
	all = append(all, lifecycle.Readiness(s.Health.StartDraining, s.common.shutdownDelay))
	return lifecycle.Run(ctx, s.Log, all...)
}

func (s *Service) close() {
	for _, conn := range s.conns {
		_ = conn.Close()
	}
	s.closeTracer()
}
