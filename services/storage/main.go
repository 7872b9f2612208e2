// Command storage is Yubin's storage service: mailboxes, messages and their bodies.
package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/service"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	"github.com/yubin-mail/yubin/services/storage/server"
)

type config struct {
	server.Config
	listen, dataDir, quota string
}

func (c *config) Flags(fs *pflag.FlagSet) {
	c.Config.Flags(fs)
	service.DataDirVar(fs, &c.dataDir)
	service.ListenVar(fs, &c.listen, "storage")
	service.TargetVar(fs, &c.quota, "quota")
}

func main() { service.Main("storage", &config{}, run) }

func run(ctx context.Context, s *service.Service, cfg *config) error {
	cfg.Dir = filepath.Join(cfg.dataDir, "storage")
	quota, err := s.Dial(cfg.quota, "quota")
	if err != nil {
		return err
	}
	storage, err := server.New(ctx, cfg.Config, server.Deps{
		Log: s.Log, Registerer: s.Registry, Health: s.Health, Now: time.Now,
		Quota: quotav1.NewQuotaServiceClient(quota),
	})
	if err != nil {
		return fmt.Errorf("start storage: %w", err)
	}
	calls, err := s.RPCServer()
	if err != nil {
		return err
	}
	storage.Register(calls)
	return s.Run(ctx, append(storage.Components(), rpc.Component(cfg.listen, calls, s.Log))...)
}
