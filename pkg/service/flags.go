package service

import (
	"io"
	"net"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/pkg/telemetry/otlp"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
)

// common are the settings that every service has.
type common struct {
	file          string
	version       bool
	logLevel      string
	logFormat     string
	adminListen   string
	adminPprof    bool
	files         tlsconf.Files
	shutdownDelay time.Duration
	readyGrace    time.Duration
	rpcWait       time.Duration
	trace         otlp.Config
	audit         bool
	alone         bool // the process has no use for --rpc-…
}

func (c *common) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.file, config.FileFlag, "", "YAML file with settings")
	fs.BoolVar(&c.version, "version", false, "print the version and exit")
	fs.StringVar(&c.logLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&c.logFormat, "log-format", "json", "json or text")
	fs.StringVar(&c.adminListen, "admin-listen", "127.0.0.1:8080", "address of /livez, /readyz and /metrics")
	fs.BoolVar(&c.adminPprof, "admin-pprof", false, "serve /debug/pprof on the admin address")
	fs.DurationVar(&c.shutdownDelay, "shutdown-delay", 0, "time from failing readiness to closing listeners, for load balancers to notice")
	fs.BoolVar(&c.audit, "audit-log", true, "log logins and administrative changes, with addresses, as records with audit=true")
	c.trace.Flags(fs)
	if c.alone {
		return
	}
	fs.DurationVar(&c.readyGrace, "ready-grace", 2*time.Minute, "how long a gateway stays ready when a service that it needs cannot be reached")
	fs.DurationVar(&c.rpcWait, "rpc-wait", rpc.DefaultWait, "how long a call waits for a service that cannot be reached, as while its only replica is replaced")
	fs.StringVar(&c.files.CA, "rpc-ca", "", "PEM file with the CA of all services' certificates")
	fs.StringVar(&c.files.Cert, "rpc-cert", "", "PEM file with this service's certificate, URI SAN spiffe://yubin/<service>")
	fs.StringVar(&c.files.Key, "rpc-key", "", "PEM file with the key of --rpc-cert")
}

func (c *common) validate() []error {
	var errs []error
	if _, err := telemetry.Logger(io.Discard, c.logLevel, "json"); err != nil {
		errs = append(errs, config.Errorf("log-level", "%w", err))
	}
	if _, err := telemetry.Logger(io.Discard, "info", c.logFormat); err != nil {
		errs = append(errs, config.Errorf("log-format", "%w", err))
	}
	if _, _, err := net.SplitHostPort(c.adminListen); err != nil {
		errs = append(errs, config.Errorf("admin-listen", "%q is no address; write for example 127.0.0.1:8080 or :8080", c.adminListen))
	}
	if c.shutdownDelay < 0 {
		errs = append(errs, config.Errorf("shutdown-delay", "%v: must not be negative", c.shutdownDelay))
	}
	errs = append(errs, c.trace.Validate()...)
	if c.alone {
		return errs
	}
	if c.readyGrace < 0 {
		errs = append(errs, config.Errorf("ready-grace", "%v: must not be negative", c.readyGrace))
	}
	errs = config.Positive(errs, "rpc-wait", c.rpcWait)
	for _, f := range []struct{ flag, path string }{{"rpc-ca", c.files.CA}, {"rpc-cert", c.files.Cert}, {"rpc-key", c.files.Key}} {
		if f.path == "" {
			errs = append(errs, config.Errorf(f.flag, "missing: services talk to each other over mutual TLS only"))
		}
	}
	return errs
}
