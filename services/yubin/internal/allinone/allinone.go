package allinone

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/service"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	autoconfig "github.com/yubin-mail/yubin/services/autoconfig/server"
	directory "github.com/yubin-mail/yubin/services/directory/server"
	imap "github.com/yubin-mail/yubin/services/imap/server"
	pop3 "github.com/yubin-mail/yubin/services/pop3/server"
	quota "github.com/yubin-mail/yubin/services/quota/server"
	smtp "github.com/yubin-mail/yubin/services/smtp/server"
	storage "github.com/yubin-mail/yubin/services/storage/server"
	"github.com/yubin-mail/yubin/services/yubin/internal/demo"
	"github.com/yubin-mail/yubin/services/yubin/internal/endpoint"
)

// Main runs `yubin serve` with the arguments after serve, and gives the exit code.
func Main(args []string) int {
	return service.Alone("yubin serve", &config{}, args, run)
}

// FlagNames are the flags of Main, for completion.
func FlagNames() []string {
	var names []string
	service.AloneFlags("yubin serve", &config{}).VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	return names
}

func run(ctx context.Context, s *service.Service, cfg *config) error {
	unlock, err := lock(cfg.dataDir)
	if err != nil {
		return err
	}
	defer unlock()

	in := rpc.NewInproc(s.Log, s.Registry)
	in.Audit(s.Audit)
	in.HandOver(&storagev1.FetchResponse{}, &storagev1.ReadResponse{}) // what storage has read for one call, and octets of its cache
	backends, register, err := newBackends(ctx, s, cfg, in)
	if err != nil {
		return err
	}
	register(in)
	adminCalls, err := adminServer(s, cfg, register)
	if err != nil {
		return err
	}
	if cfg.demo {
		if err := demo.Populate(ctx, directoryv1.NewDirectoryAdminServiceClient(in.Client("admin"))); err != nil {
			return err
		}
	}
	gateways, err := newGateways(ctx, s, cfg, in)
	if err != nil {
		return err
	}
	components := slices.Concat(backends, []lifecycle.Component{adminCalls, together("gateways", gateways)})
	if cfg.demo {
		components = append(components, banner(cfg))
	}
	return s.Run(ctx, components...)
}

// newBackends makes directory, quota and storage, in the order in which each may need those before it when it stops.
func newBackends(ctx context.Context, s *service.Service, cfg *config, in *rpc.Inproc) ([]lifecycle.Component, func(grpc.ServiceRegistrar), error) {
	people, err := directory.New(ctx, cfg.directory, directory.Deps{Log: s.Log, Audit: s.Audit, Registerer: s.Registry, Health: s.Health, Now: time.Now})
	if err != nil {
		return nil, nil, fmt.Errorf("start directory: %w", err)
	}
	asQuota := in.Client("quota")
	capacity, err := quota.New(ctx, cfg.quota, quota.Deps{
		Log: s.Log, Registerer: s.Registry, Health: s.Health, Now: time.Now,
		Directory:      directoryv1.NewDirectoryServiceClient(asQuota),
		DirectoryAdmin: directoryv1.NewDirectoryAdminServiceClient(asQuota),
		Storage:        storagev1.NewStorageServiceClient(asQuota),
		StorageAdmin:   storagev1.NewStorageAdminServiceClient(asQuota),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("start quota: %w", err)
	}
	mail, err := storage.New(ctx, cfg.storage, storage.Deps{
		Log: s.Log, Registerer: s.Registry, Health: s.Health, Now: time.Now,
		Quota: quotav1.NewQuotaServiceClient(in.Client("storage")),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("start storage: %w", err)
	}
	components := append(people.Components(), append(capacity.Components(), mail.Components()...)...)
	register := func(r grpc.ServiceRegistrar) {
		people.Register(r)
		capacity.Register(r)
		mail.Register(r)
	}
	return components, register, nil
}

func newGateways(ctx context.Context, s *service.Service, cfg *config, in *rpc.Inproc) ([]lifecycle.Component, error) {
	asSMTP, asPOP3, asIMAP := in.Client("smtp"), in.Client("pop3"), in.Client("imap")
	ingress, err := smtp.New(ctx, cfg.smtp, smtp.Deps{
		Log: s.Log, Registerer: s.Registry, Tracer: s.Tracer, Now: time.Now,
		Directory: directoryv1.NewDirectoryServiceClient(asSMTP),
		Quota:     quotav1.NewQuotaServiceClient(asSMTP),
		Storage:   storagev1.NewStorageServiceClient(asSMTP),
	})
	if err != nil {
		return nil, fmt.Errorf("start smtp: %w", err)
	}
	pop, err := pop3.New(ctx, cfg.pop3, pop3.Deps{
		Log: s.Log, Registerer: s.Registry, Tracer: s.Tracer,
		Directory: directoryv1.NewDirectoryServiceClient(asPOP3),
		Storage:   storagev1.NewStorageServiceClient(asPOP3),
	})
	if err != nil {
		return nil, fmt.Errorf("start pop3: %w", err)
	}
	access, err := imap.New(ctx, cfg.imap, imap.Deps{
		Log: s.Log, Registerer: s.Registry, Tracer: s.Tracer, Now: time.Now, Version: s.Version,
		Directory: directoryv1.NewDirectoryServiceClient(asIMAP),
		Quota:     quotav1.NewQuotaServiceClient(asIMAP),

		QuotaAdmin: quotav1.NewQuotaAdminServiceClient(asIMAP),
		Storage:    storagev1.NewStorageServiceClient(asIMAP),
	})
	if err != nil {
		return nil, fmt.Errorf("start imap: %w", err)
	}
	components := slices.Concat(ingress.Components(), pop.Components(), access.Components())
	if !cfg.autoconfig.Enabled() {
		return components, nil
	}
	settings, err := autoconfig.New(ctx, cfg.autoconfig, autoconfig.Deps{Log: s.Log, Registerer: s.Registry, Now: time.Now})
	if err != nil {
		return nil, fmt.Errorf("start autoconfig: %w", err)
	}
	return append(components, settings.Components()...), nil
}

// together makes one component of several that start and drain at the same time.
func together(name string, components []lifecycle.Component) lifecycle.Component {
	return lifecycle.Component{Name: name, Run: func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		for _, c := range components {
			group.Go(func() error { return c.Run(ctx) })
		}
		return group.Wait()
	}}
}

// adminCheck fails until the command line tool can find this process.
const adminCheck = "admin-rpc"

// adminServer takes the calls of the command line tool, and tells it where.
func adminServer(s *service.Service, cfg *config, register func(grpc.ServiceRegistrar)) (lifecycle.Component, error) {
	authority, err := tlsconf.NewAuthority(filepath.Join(cfg.dataDir, "run", "ca"))
	if err != nil {
		return lifecycle.Component{}, fmt.Errorf("set up administration: %w", err)
	}
	own, err := authority.Issue(endpoint.Server, "localhost", "127.0.0.1")
	if err != nil {
		return lifecycle.Component{}, fmt.Errorf("set up administration: %w", err)
	}
	admin, err := authority.Issue("admin")
	if err != nil {
		return lifecycle.Component{}, fmt.Errorf("set up administration: %w", err)
	}
	tls, err := tlsconf.MutualServer(own, tlsconf.Options{Log: s.Log, Registerer: s.Registry})
	if err != nil {
		return lifecycle.Component{}, fmt.Errorf("set up administration: %w", err)
	}
	server := rpc.NewServer(rpc.ServerOptions{
		Log: s.Log, Audit: s.Audit, Registerer: s.Registry, Tracer: s.Tracer, TLS: tls, Health: s.Health,
	})
	register(server)
	serve := rpc.Component(cfg.adminRPCListen, server, s.Log)
	s.Health.Set(adminCheck, errors.New("the command line tool cannot find this process yet"))
	return lifecycle.Component{Name: "admin-rpc", Run: func(ctx context.Context) error {
		if err := endpoint.Publish(cfg.dataDir, endpoint.Endpoint{Address: cfg.adminRPCListen, Files: admin}); err != nil {
			return err
		}
		s.Health.Set(adminCheck, nil)
		defer endpoint.Withdraw(cfg.dataDir)
		return serve.Run(ctx)
	}}, nil
}

// banner prints what runs, once it does.
func banner(cfg *config) lifecycle.Component {
	return lifecycle.Component{Name: "banner", Run: func(ctx context.Context) error {
		demo.Banner(os.Stdout, cfg.dataDir, cfg.tlsCert, func(flag string) string { return cfg.flags.Lookup(flag).Value.String() })
		<-ctx.Done()
		_, err := fmt.Fprintln(os.Stdout, "Stopping: sessions end between commands, and all data is kept.")
		return err
	}}
}
