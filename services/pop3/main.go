// Command pop3 is Yubin's POP3 gateway. It holds nothing that a restart loses but its connections; scale it freely.
package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/service"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/pop3/server"
)

type config struct {
	server.Config
	directory, storage string
}

func (c *config) Flags(fs *pflag.FlagSet) {
	c.Config.Flags(fs)
	service.TargetVar(fs, &c.directory, "directory")
	service.TargetVar(fs, &c.storage, "storage")
}

func main() { service.Main("pop3", &config{}, run) }

func run(ctx context.Context, s *service.Service, cfg *config) error {
	directory, err := s.DialNeeded(cfg.directory, "directory")
	if err != nil {
		return err
	}
	storage, err := s.DialNeeded(cfg.storage, "storage")
	if err != nil {
		return err
	}
	pop3, err := server.New(ctx, cfg.Config, server.Deps{
		Log: s.Log, Registerer: s.Registry, Tracer: s.Tracer,
		Directory: directoryv1.NewDirectoryServiceClient(directory),
		Storage:   storagev1.NewStorageServiceClient(storage),
	})
	if err != nil {
		return fmt.Errorf("start pop3: %w", err)
	}
	return s.Run(ctx, pop3.Components()...)
}
