package harness

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/yubin-mail/yubin/pkg/tlsconf"
)

// Shape is how the services are put into processes.
type Shape string

// The shapes.
const (
	// AllInOne is one process.
	AllInOne Shape = "all-in-one"
	// Split is a process for each service, over mTLS.
	Split Shape = "split"
	// Production is several replicas of each service over mTLS, on PostgreSQL, an S3 server and NATS.
	Production Shape = "production"
)

// Shapes are all of them, for tests that run in each.
var Shapes = []Shape{AllInOne, Split, Production}

// Names of the domain and of the password that Start's accounts have.
const (
	Domain   = "example.test"
	Password = "correct horse battery"
)

// Options of Start.
type Options struct {
	Shape Shape
	// Dir holds the data; empty: one of the test's own.
	Dir string
	// Args are more flags, for every process that knows them by their prefix (in the all-in-one: all). In the production shape {process} stands
	// for the name of the process, as in a directory that is its own.
	Args []string
	// Accounts to create: local parts in Domain.
	Accounts []string
	// IMAPGateways is how many IMAP processes run in the split shape; 0 is 1.
	IMAPGateways int
	// ProductionOptions are for that shape.
	ProductionOptions
}

// Endpoints are the addresses of the public listeners.
type Endpoints struct {
	SMTP, Submission, Submissions, LMTP string
	POP3, POP3S                         string
	// IMAP and IMAPS have one address for each gateway.
	IMAP, IMAPS []string
}

// System is a running Yubin.
type System struct {
	Endpoints
	Dir       string
	Shape     Shape
	Processes []*Process // in the order of their start
	// RPC has where the services are that others call, by name, as a target of gRPC; not in the all-in-one.
	RPC map[string]string
	// Stores are what the production shape stands on.
	Stores Stores

	authority *tlsconf.Authority // not in the all-in-one
	gateways  []Endpoints        // of each replica of the gateways; production shape only
	certFile  string
	cli       []string // flags by which the CLI finds the system
}

// Start starts a system and waits until it is ready. The test's end stops it.
func Start(tb testing.TB, opts Options) *System {
	tb.Helper()
	s := &System{Dir: opts.Dir, Shape: opts.Shape}
	if s.Dir == "" {
		s.Dir = tb.TempDir()
	}
	if s.Shape == "" {
		s.Shape = AllInOne
	}
	cert, key, err := tlsconf.SelfSigned(filepath.Join(s.Dir, "tls"), "localhost", "127.0.0.1")
	if err != nil {
		tb.Fatal(err)
	}
	s.certFile = cert
	s.Endpoints = newEndpoints(tb, opts.IMAPGateways)
	switch s.Shape {
	case AllInOne:
		s.planAllInOne(tb, cert, key, opts)
	case Split:
		s.planSplit(tb, cert, key, opts)
	case Production:
		s.planProduction(tb, cert, key, opts)
	default:
		tb.Fatalf("there is no shape %q", s.Shape)
	}
	for _, p := range s.Processes {
		p.Launch(tb)
	}
	for _, p := range s.Processes {
		p.WaitReady(tb)
	}
	if len(opts.Accounts) > 0 {
		s.CLI(tb, "domain", "add", Domain)
		for _, name := range opts.Accounts {
			s.AddAccount(tb, name)
		}
	}
	return s
}

func newEndpoints(tb testing.TB, imap int) Endpoints {
	tb.Helper()
	e := Endpoints{
		SMTP: FreeAddr(tb), Submission: FreeAddr(tb), Submissions: FreeAddr(tb), LMTP: FreeAddr(tb),
		POP3: FreeAddr(tb), POP3S: FreeAddr(tb),
	}
	for range max(imap, 1) {
		e.IMAP, e.IMAPS = append(e.IMAP, FreeAddr(tb)), append(e.IMAPS, FreeAddr(tb))
	}
	return e
}

func (s *Endpoints) gatewayArgs(cert, key string) map[string][]string {
	return map[string][]string{
		"smtp": {
			"--smtp-hostname", "mx." + Domain, "--smtp-listen", s.SMTP, "--smtp-submission-listen", s.Submission,
			"--smtp-submissions-listen", s.Submissions, "--smtp-lmtp-listen", s.LMTP, "--smtp-tls-cert", cert, "--smtp-tls-key", key,
			"--smtp-max-connections-per-network", "10000", "--smtp-drain-window", "100ms",
		},
		"pop3": {
			"--pop3-hostname", "pop." + Domain, "--pop3-listen", s.POP3, "--pop3-tls-listen", s.POP3S, "--pop3-tls-cert", cert, "--pop3-tls-key", key,
			"--pop3-max-connections-per-network", "10000", "--pop3-drain-window", "100ms",
		},
		"imap": {
			"--imap-hostname", "imap." + Domain, "--imap-tls-cert", cert, "--imap-tls-key", key,
			"--imap-max-connections-per-network", "10000", "--imap-drain-window", "100ms",
		},
	}
}

func (s *System) planAllInOne(tb testing.TB, cert, key string, opts Options) {
	data := filepath.Join(s.Dir, "data")
	args := []string{"serve", "--data-dir", data, "--admin-rpc-listen", FreeAddr(tb), "--imap-listen", s.IMAP[0], "--imap-tls-listen", s.IMAPS[0]}
	for _, more := range s.gatewayArgs(cert, key) {
		args = append(args, more...)
	}
	s.Processes = []*Process{newProcess(tb, s.Dir, "yubin", "yubin", append(args, opts.Args...)...)}
	s.cli = []string{"--data-dir", data}
}

func (s *System) planSplit(tb testing.TB, cert, key string, opts Options) {
	identity := s.identities(tb)
	listen := map[string]string{"directory": FreeAddr(tb), "quota": FreeAddr(tb), "storage": FreeAddr(tb)}
	s.RPC = listen
	targets := func(services ...string) []string {
		var args []string
		for _, service := range services {
			args = append(args, "--"+service+"-target", "dns:///"+listen[service])
		}
		return args
	}
	add := func(name, service string, groups ...[]string) {
		args := identity(service)
		for _, group := range append(groups, prefixed(opts.Args, service)) {
			args = append(args, group...)
		}
		s.Processes = append(s.Processes, newProcess(tb, s.Dir, name, service, args...))
	}
	backend := func(service string, targets []string) {
		add(service, service, []string{"--data-dir", filepath.Join(s.Dir, service), "--" + service + "-rpc-listen", listen[service]}, targets)
	}
	gateways := s.gatewayArgs(cert, key)
	backend("directory", nil)
	backend("quota", targets("directory", "storage"))
	backend("storage", targets("quota"))
	add("smtp", "smtp", gateways["smtp"], targets("directory", "quota", "storage"))
	add("pop3", "pop3", gateways["pop3"], targets("directory", "storage"))
	for i := range s.IMAP {
		add("imap-"+strconv.Itoa(i), "imap", gateways["imap"], []string{"--imap-listen", s.IMAP[i], "--imap-tls-listen", s.IMAPS[i]},
			targets("directory", "quota", "storage"))
	}
	s.cli = append(identity("admin"), targets("directory", "quota", "storage")...)
}

// identities makes the authority of the installation, and gives what issues certificates as flags.
func (s *System) identities(tb testing.TB) func(service string) []string {
	tb.Helper()
	authority, err := tlsconf.NewAuthority(filepath.Join(s.Dir, "ca"))
	if err != nil {
		tb.Fatal(err)
	}
	s.authority = authority
	return func(service string) []string {
		files := s.Identity(tb, service)
		return []string{"--rpc-ca", files.CA, "--rpc-cert", files.Cert, "--rpc-key", files.Key}
	}
}

// Identity issues a certificate of a service, for a test that calls others in its name.
func (s *System) Identity(tb testing.TB, service string) tlsconf.Files {
	tb.Helper()
	files, err := s.authority.Issue(service, "localhost", "127.0.0.1")
	if err != nil {
		tb.Fatal(err)
	}
	return files
}

// prefixed picks the flags of one service, each with its value: --<service>-… value, or --<service>-…=value.
func prefixed(args []string, service string) []string {
	var out []string
	for len(args) > 0 {
		n := min(2, len(args))
		if strings.Contains(args[0], "=") {
			n = 1
		}
		for _, prefix := range []string{service, "log", "admin", "trace", "audit", "ready"} {
			if strings.HasPrefix(args[0], "--"+prefix+"-") {
				out = append(out, args[:n]...)
			}
		}
		args = args[n:]
	}
	return out
}

// Process gives a process by its name: yubin in the all-in-one; directory, quota, storage, smtp, pop3, imap-0, … in the split shape;
// directory-0, directory-1, … in the production shape.
func (s *System) Process(tb testing.TB, name string) *Process {
	tb.Helper()
	for _, p := range s.Processes {
		if p.Name == name {
			return p
		}
	}
	tb.Fatalf("there is no process %q in the %s shape", name, s.Shape)
	return nil
}

// Backend gives the process in which a service runs: itself, its first replica, or the all-in-one.
func (s *System) Backend(tb testing.TB, service string) *Process {
	tb.Helper()
	switch s.Shape {
	case AllInOne:
		return s.Process(tb, "yubin")
	case Production:
		return s.Replica(tb, service, 0)
	}
	return s.Process(tb, service)
}

// Stop ends all processes with SIGTERM, gateways first, and checks that they end well.
func (s *System) Stop(tb testing.TB) {
	tb.Helper()
	for i := range s.Processes {
		s.Processes[len(s.Processes)-1-i].Stop(tb)
	}
}

// Restart starts all processes again on the same data and addresses.
func (s *System) Restart(tb testing.TB) {
	tb.Helper()
	for _, p := range s.Processes {
		p.Launch(tb)
	}
	for _, p := range s.Processes {
		p.WaitReady(tb)
	}
}

// Address is the address of an account in Domain.
func Address(name string) string { return name + "@" + Domain }

// AddAccount creates name@Domain with Password.
func (s *System) AddAccount(tb testing.TB, name string) {
	tb.Helper()
	s.CLIInput(tb, Password+"\n", "account", "add", Address(name), "--password-stdin")
}

// CLI runs the yubin command against the system and gives its output. It must succeed.
func (s *System) CLI(tb testing.TB, args ...string) string {
	tb.Helper()
	return s.CLIInput(tb, "", args...)
}

// CLIInput is CLI with standard input.
func (s *System) CLIInput(tb testing.TB, input string, args ...string) string {
	tb.Helper()
	stdout, stderr, err := s.TryCLI(tb, input, args...)
	if err != nil {
		tb.Fatalf("yubin %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	return stdout
}

// TryCLI is CLIInput for commands that may fail.
func (s *System) TryCLI(tb testing.TB, input string, args ...string) (stdout, stderr string, err error) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), Binary(tb, "yubin"), append(args, s.cli...)...)
	var o, e bytes.Buffer
	cmd.Env = environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}

// TLS is a client's configuration that trusts the system's certificate.
func (s *System) TLS(tb testing.TB) *tls.Config {
	tb.Helper()
	pem, err := os.ReadFile(s.certFile)
	if err != nil {
		tb.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		tb.Fatal("the certificate is not PEM")
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
}

// CertFile is the system's own certificate, for clients that want a file.
func (s *System) CertFile() string { return s.certFile }

// AccountID gives the id by which the services know an account of Domain.
func (s *System) AccountID(tb testing.TB, name string) string {
	tb.Helper()
	var account struct {
		ID string `json:"account_id"`
	}
	if err := json.Unmarshal([]byte(s.CLI(tb, "account", "show", Address(name), "--json")), &account); err != nil || account.ID == "" {
		tb.Fatalf("account show: %v", err)
	}
	return account.ID
}
