package harness

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/yubin-mail/yubin/pkg/testserver/minio"
	"github.com/yubin-mail/yubin/pkg/testserver/nats"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
)

// ProductionOptions are the options of the production shape.
type ProductionOptions struct {
	// Replicas is how many processes each service has; 0 is 2.
	Replicas int
	// WithoutNATS has the replicas of storage look into the database for each other's changes.
	WithoutNATS bool
	// Stores to use instead of new ones: those that are set. A test that starts a second system on the first one's stores has them.
	Stores Stores
	// Link, if set, is asked for the way from a process (or "cli") to another, to "postgres", "minio" or "nats": it gives the address to
	// be called instead of addr, as that of a proxy.
	Link func(from, to, addr string) string
}

// Stores are what the production shape stands on.
type Stores struct {
	Postgres *postgres.Server
	MinIO    *minio.Server
	NATS     *nats.Server // nil: WithoutNATS
	// Databases are the URLs of the databases of directory, quota and storage, by service.
	Databases map[string]string
	// Bucket is where storage has bodies.
	Bucket string
}

// complete starts what is missing.
func (s *Stores) complete(tb testing.TB, withNATS bool) {
	tb.Helper()
	if s.Postgres == nil {
		s.Postgres = postgres.Start(tb)
	}
	databases := map[string]string{}
	for _, service := range backends {
		if databases[service] = s.Databases[service]; databases[service] == "" {
			databases[service] = s.Postgres.Database(tb)
		}
	}
	s.Databases = databases
	if s.MinIO == nil {
		s.MinIO = minio.Start(tb)
	}
	if s.Bucket == "" {
		s.Bucket = s.MinIO.Bucket(tb)
	}
	if s.NATS == nil && withNATS {
		s.NATS = nats.Start(tb)
	}
}

// args are the flags by which a process of a backend finds its stores.
func (s *Stores) args(tb testing.TB, dir, service string, way func(to, addr string) string) []string {
	tb.Helper()
	database, err := url.Parse(s.Databases[service])
	if err != nil {
		tb.Fatal(err)
	}
	database.Host = way("postgres", database.Host)
	args := []string{"--" + service + "-database-url", database.String()}
	if service != "storage" {
		return args
	}
	secret := filepath.Join(dir, "s3-secret")
	if err := os.WriteFile(secret, []byte(s.MinIO.SecretKey), 0o600); err != nil {
		tb.Fatal(err)
	}
	args = append(args, "--storage-s3-endpoint", "http://"+way("minio", s.MinIO.Addr), "--storage-s3-bucket", s.Bucket,
		"--storage-s3-access-key", s.MinIO.AccessKey, "--storage-s3-secret-key-file", secret)
	if s.NATS != nil {
		args = append(args, "--storage-nats-url", "nats://"+way("nats", s.NATS.Addr()))
	}
	return args
}

// backends are the services with a database, in the order of their start.
var backends = []string{"directory", "quota", "storage"}

// callees says which services one calls.
var callees = map[string][]string{
	"quota": {"directory", "storage"}, "storage": {"quota"},
	"smtp": backends, "imap": backends, "pop3": {"directory", "storage"}, "cli": backends,
}

func (s *System) planProduction(tb testing.TB, cert, key string, opts Options) {
	tb.Helper()
	replicas := opts.Replicas
	if replicas == 0 {
		replicas = 2
	}
	s.Stores = opts.Stores
	s.Stores.complete(tb, !opts.WithoutNATS)
	identity := s.identities(tb)
	listen := map[string][]string{}
	s.RPC = map[string]string{}
	for _, service := range backends {
		for range replicas {
			listen[service] = append(listen[service], FreeAddr(tb))
		}
		s.RPC[service] = strings.Join(listen[service], ",")
	}
	way := func(from string) func(to, addr string) string {
		return func(to, addr string) string {
			if opts.Link == nil {
				return addr
			}
			return opts.Link(from, to, addr)
		}
	}
	targets := func(from, service string) []string {
		var args []string
		for _, callee := range callees[service] {
			var addrs []string
			for i, addr := range listen[callee] {
				addrs = append(addrs, way(from)(replica(callee, i), addr))
			}
			args = append(args, "--"+callee+"-target", strings.Join(addrs, ","))
		}
		return args
	}
	add := func(service string, i int, more ...string) {
		name := replica(service, i)
		args := slices.Concat(identity(service), more, targets(name, service), prefixed(opts.Args, service))
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "{process}", name)
		}
		s.Processes = append(s.Processes, newProcess(tb, s.Dir, name, service, args...))
	}
	for _, service := range backends {
		for i, addr := range listen[service] {
			name := replica(service, i)
			args := []string{"--data-dir", filepath.Join(s.Dir, name), "--" + service + "-rpc-listen", addr}
			add(service, i, append(args, s.Stores.args(tb, s.Dir, service, way(name))...)...)
		}
	}
	s.IMAP, s.IMAPS = nil, nil
	for i := range replicas {
		e := newEndpoints(tb, 1)
		s.gateways = append(s.gateways, e)
		args := e.gatewayArgs(cert, key)
		add("smtp", i, args["smtp"]...)
		add("pop3", i, args["pop3"]...)
		add("imap", i, append(args["imap"], "--imap-listen", e.IMAP[0], "--imap-tls-listen", e.IMAPS[0])...)
		s.IMAP, s.IMAPS = append(s.IMAP, e.IMAP...), append(s.IMAPS, e.IMAPS...)
	}
	imap, imaps := s.IMAP, s.IMAPS
	s.Endpoints = s.gateways[0]
	s.IMAP, s.IMAPS = imap, imaps
	s.cli = append(identity("admin"), targets("cli", "cli")...)
}

func replica(service string, i int) string { return service + "-" + strconv.Itoa(i) }

// Replica gives a process of the production shape.
func (s *System) Replica(tb testing.TB, service string, i int) *Process {
	tb.Helper()
	return s.Process(tb, replica(service, i))
}

// Via gives the system as it is seen through the replicas number i of the gateways, in the production shape.
func (s *System) Via(i int) *System {
	through := *s
	through.Endpoints = s.gateways[i]
	return &through
}
