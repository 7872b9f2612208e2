// Package service is what the main functions of all services have in common: common
// flags, configuration, logger, metrics, health, mutual TLS and the order of
// starting and stopping. A main reads
//
//	func main() { service.Main("pop3", &server.Config{}, run) }
//
//	func run(ctx context.Context, s *service.Service, cfg *server.Config) error {
//		storage, err := s.Dial(cfg.StorageAddr, "storage")
//		if err != nil {
//			return err
//		}
//		srv, err := server.New(cfg, s.Log, s.Registry, storage)
//		if err != nil {
//			return err
//		}
//		return s.Run(ctx, srv.Component())
//	}
package service
