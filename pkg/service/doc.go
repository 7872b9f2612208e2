// Package service is what the main functions of all services have in common: common
// flags, configuration, logger, metrics, health, mutual TLS and the order of
// starting and stopping. A main reads
//
//	func main() { service.Main("pop3", &config{}, run) }
//
//	func run(ctx context.Context, s *service.Service, cfg *config) error {
//		storage, err := s.Dial(cfg.storage, "storage")
//		if err != nil {
//			return err
//		}
//		pop3, err := server.New(ctx, cfg.Config, server.Deps{Log: s.Log, Storage: storagev1.NewStorageServiceClient(storage)})
//		if err != nil {
//			return fmt.Errorf("start pop3: %w", err)
//		}
//		return s.Run(ctx, pop3.Components()...)
//	}
package service
