// Command quota is Yubin's quota service: a ledger of what each account may hold, holds, and is about to hold.
package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/service"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/quota/server"
)

type config struct {
	server.Config
	listen, dataDir, directory, storage string
}

func (c *config) Flags(fs *pflag.FlagSet) {
	c.Config.Flags(fs)
	service.DataDirVar(fs, &c.dataDir)
	service.ListenVar(fs, &c.listen, "quota")
	service.TargetVar(fs, &c.directory, "directory")
	service.TargetVar(fs, &c.storage, "storage")
}

func main() { service.Main("quota", &config{}, run) }

func run(ctx context.Context, s *service.Service, cfg *config) error {
	cfg.Dir = filepath.Join(cfg.dataDir, "quota")
	directory, err := s.Dial(cfg.directory, "directory")
	if err != nil {
		return err
	}
	storage, err := s.Dial(cfg.storage, "storage")
	if err != nil {
		return err
	}
	quota, err := server.New(ctx, cfg.Config, server.Deps{
		Log: s.Log, Registerer: s.Registry, Health: s.Health, Now: time.Now,
		Directory:      directoryv1.NewDirectoryServiceClient(directory),
		DirectoryAdmin: directoryv1.NewDirectoryAdminServiceClient(directory),
		Storage:        storagev1.NewStorageServiceClient(storage),
		StorageAdmin:   storagev1.NewStorageAdminServiceClient(storage),
	})
	if err != nil {
		return fmt.Errorf("start quota: %w", err)
	}
	calls, err := s.RPCServer()
	if err != nil {
		return err
	}
	quota.Register(calls)
	return s.Run(ctx, append(quota.Components(), rpc.Component(cfg.listen, calls, s.Log))...)
}
