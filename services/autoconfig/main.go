// Command autoconfig tells mail programs the settings of the gateways, so that their users need only an address and a password. It calls no
// other service and holds nothing; scale it freely.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/yubin-mail/yubin/pkg/service"
	"github.com/yubin-mail/yubin/services/autoconfig/server"
)

func main() {
	os.Exit(service.Alone("autoconfig", &server.Config{}, os.Args[1:], run))
}

func run(ctx context.Context, s *service.Service, cfg *server.Config) error {
	autoconfig, err := server.New(ctx, *cfg, server.Deps{Log: s.Log, Registerer: s.Registry, Now: time.Now})
	if err != nil {
		return fmt.Errorf("start autoconfig: %w", err)
	}
	return s.Run(ctx, autoconfig.Components()...)
}
