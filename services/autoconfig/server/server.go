package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/listen"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
)

// drainTimeout is how long requests that are under way may take to end when the server stops.
const drainTimeout = 5 * time.Second

// Deps are what the service needs from outside.
type Deps struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Now        func() time.Time
}

// Server is the service with its listeners open.
type Server struct {
	log       *slog.Logger
	handler   http.Handler
	listeners map[string]net.Listener
}

// New opens the listeners. Components must be run to serve and to close them.
func New(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	requests := telemetry.Register(deps.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "yubin", Subsystem: "autoconfig", Name: "requests_total", Help: "Requests of mail programs by kind and HTTP status.",
	}, []string{"kind", "status"}))
	s := &Server{log: deps.Log, listeners: map[string]net.Listener{}, handler: newHandler(cfg.settings, requests, deps)}
	// Whoever is behind an Ingress has its address: there is no limit for a client alone.
	options := listen.Options{
		Limiter: listen.NewLimiter(listen.Limits{MaxConns: cfg.maxConnections, MaxConnsPerNetwork: cfg.maxConnections, NetworkBitsV4: 32, NetworkBitsV6: 64}),
		Metrics: listen.NewMetrics(deps.Registerer, "autoconfig"), Log: deps.Log,
	}
	for name, addr := range map[string]string{"http": cfg.Listen, "https": cfg.TLSListen} {
		if addr == "" {
			continue
		}
		options.Name = name
		l, err := listen.Open(ctx, addr, options)
		if err != nil {
			s.close()
			return nil, listen.Explain(map[string]string{"http": "autoconfig-listen", "https": "autoconfig-tls-listen"}[name], err)
		}
		s.listeners[name] = l
	}
	if l := s.listeners["https"]; l != nil {
		config, err := tlsconf.Load(cfg.tlsCert, cfg.tlsKey, tlsconf.Options{Log: deps.Log, Registerer: deps.Registerer})
		if err != nil {
			s.close()
			return nil, fmt.Errorf("load certificate: %w", err)
		}
		config.NextProtos = []string{"h2", "http/1.1"}
		s.listeners["https"] = tls.NewListener(l, config)
	}
	return s, nil
}

// Addr is where a listener listens: http or https. Nil if it is off.
func (s *Server) Addr(listener string) net.Addr {
	if l := s.listeners[listener]; l != nil {
		return l.Addr()
	}
	return nil
}

// Components serves the listeners until it is stopped, and then lets requests end.
func (s *Server) Components() []lifecycle.Component {
	return []lifecycle.Component{{Name: "autoconfig", Run: s.run}}
}

func (s *Server) run(ctx context.Context) error {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // what clients do wrong
	}
	group, serving := errgroup.WithContext(ctx)
	for name, l := range s.listeners {
		s.log.Info("listening", "listener", name, "address", l.Addr().String())
		group.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve %s: %w", name, err)
			}
			return nil
		})
	}
	<-serving.Done()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		s.log.Warn("requests were cut", "error", err)
		_ = server.Close()
	}
	return group.Wait()
}

func (s *Server) close() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
}
