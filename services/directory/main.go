// Command directory is Yubin's directory: domains, accounts, aliases and passwords.
package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/service"
	"github.com/yubin-mail/yubin/services/directory/server"
)

type config struct {
	server.Config
	listen, dataDir string
}

func (c *config) Flags(fs *pflag.FlagSet) {
	c.Config.Flags(fs)
	service.DataDirVar(fs, &c.dataDir)
	service.ListenVar(fs, &c.listen, "directory")
}

func main() { service.Main("directory", &config{}, run) }

func run(ctx context.Context, s *service.Service, cfg *config) error {
	cfg.Dir = filepath.Join(cfg.dataDir, "directory")
	directory, err := server.New(ctx, cfg.Config, server.Deps{
		Log: s.Log, Audit: s.Audit, Registerer: s.Registry, Health: s.Health, Now: time.Now,
	})
	if err != nil {
		return fmt.Errorf("start directory: %w", err)
	}
	calls, err := s.RPCServer()
	if err != nil {
		return err
	}
	directory.Register(calls)
	return s.Run(ctx, append(directory.Components(), rpc.Component(cfg.listen, calls, s.Log))...)
}
