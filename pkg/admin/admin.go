// Package admin is the HTTP server for operators: liveness, readiness, metrics and, if wanted, profiles.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/yubin-mail/yubin/pkg/health"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/listen"
)

// Options of the admin server.
type Options struct {
	Addr     string // host:port
	Checks   *health.Checks
	Gatherer prometheus.Gatherer
	Pprof    bool // serve /debug/pprof
	Log      *slog.Logger
}

// Component serves Handler on opts.Addr. An address that cannot be opened is the error of its Run.
func Component(opts Options) lifecycle.Component {
	return lifecycle.Component{Name: "admin", Run: func(ctx context.Context) error {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", opts.Addr)
		if err != nil {
			return listen.Explain("admin-listen", fmt.Errorf("open admin listener: %w", err))
		}
		opts.Log.Info("admin server listens", "address", l.Addr().String())
		return serve(ctx, l, Handler(opts), opts)
	}}
}

func serve(ctx context.Context, l net.Listener, h http.Handler, opts Options) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      90 * time.Second, // a 60 s profile fits
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(opts.Log.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve admin: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); errors.Is(err, context.DeadlineExceeded) {
		return srv.Close()
	}
	return nil
}

// Handler serves /livez, /readyz, /metrics and, if opts.Pprof, /debug/pprof.
func Handler(opts Options) http.Handler {
	mux := http.NewServeMux()
	begun := time.Now()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { livez(w, begun, opts.Checks) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { readyz(w, opts.Checks) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(opts.Gatherer, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(opts.Log.Handler(), slog.LevelWarn),
		Timeout:  30 * time.Second,
		// Exemplars are in this format only, which scrapers ask for.
		EnableOpenMetrics: true,
	}))
	if opts.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// livez answers 200 as long as the process answers at all: what a restart does not cure must not lead to one. It tells how long it has been up, and
// whether it is ready, which is another thing.
func livez(w http.ResponseWriter, begun time.Time, checks *health.Checks) {
	writeJSON(w, struct {
		Live   bool   `json:"live"`
		Uptime string `json:"uptime"`
		Ready  bool   `json:"ready"`
	}{true, time.Since(begun).Round(time.Second).String(), checks.Ready() == nil})
}

// readyz answers 200 if the process is ready, otherwise 503, with every check by name.
func readyz(w http.ResponseWriter, checks *health.Checks) {
	body := struct {
		Ready  bool              `json:"ready"`
		Checks map[string]string `json:"checks"`
	}{checks.Ready() == nil, checks.Status()}
	w.Header().Set("Content-Type", "application/json")
	if !body.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	writeJSON(w, body)
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}
