// Command imap is Yubin's IMAP gateway. It holds nothing that a restart loses but its connections; scale it freely.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/service"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/server"
)

type config struct {
	server.Config
	directory, quota, storage string
}

func (c *config) Flags(fs *pflag.FlagSet) {
	c.Config.Flags(fs)
	service.TargetVar(fs, &c.directory, "directory")
	service.TargetVar(fs, &c.quota, "quota")
	service.TargetVar(fs, &c.storage, "storage")
}

func main() { service.Main("imap", &config{}, run) }

func run(ctx context.Context, s *service.Service, cfg *config) error {
	directory, err := s.DialNeeded(cfg.directory, "directory")
	if err != nil {
		return err
	}
	quota, err := s.DialNeeded(cfg.quota, "quota")
	if err != nil {
		return err
	}
	storage, err := s.DialNeeded(cfg.storage, "storage")
	if err != nil {
		return err
	}
	imap, err := server.New(ctx, cfg.Config, server.Deps{
		Log: s.Log, Registerer: s.Registry, Tracer: s.Tracer, Now: time.Now, Version: s.Version,
		Directory: directoryv1.NewDirectoryServiceClient(directory),
		Quota:     quotav1.NewQuotaServiceClient(quota),
		Storage:   storagev1.NewStorageServiceClient(storage),

		QuotaAdmin: quotav1.NewQuotaAdminServiceClient(quota),
	})
	if err != nil {
		return fmt.Errorf("start imap: %w", err)
	}
	return s.Run(ctx, imap.Components()...)
}
