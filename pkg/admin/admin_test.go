package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/yubin-mail/yubin/pkg/health"
	"github.com/yubin-mail/yubin/pkg/telemetry"
)

func options(pprof bool) Options {
	return Options{
		Addr: "127.0.0.1:0", Checks: health.NewChecks(), Gatherer: telemetry.Registry("test", "v1"),
		Pprof: pprof, Log: slog.New(slog.DiscardHandler),
	}
}

func TestHandler(t *testing.T) {
	opts := options(true)
	get := func(h http.Handler, path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	expect := func(path string, code int, part string) {
		t.Helper()
		if got, body := get(Handler(opts), path); got != code || !strings.Contains(body, part) {
			t.Errorf("%s: %d %s", path, got, body)
		}
	}
	expect("/livez", 200, `{"live":true,"uptime":"0s","ready":true}`)
	expect("/readyz", 200, `"ready":true`)
	opts.Checks.Set("storage", errors.New("connection refused"))
	expect("/readyz", 503, `"storage":"connection refused"`)
	expect("/livez", 200, `"live":true,"uptime":"0s","ready":false`)
	expect("/metrics", 200, "yubin_build_info")
	expect("/debug/pprof/cmdline", 200, "")
	expect("/", 404, "")
	if code, _ := get(Handler(options(false)), "/debug/pprof/cmdline"); code != 404 {
		t.Errorf("profiles are served without the flag: %d", code)
	}
}

func TestServeUntilCancelled(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts := options(false)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, Handler(opts), opts) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), `"live":true`) || resp.Body.Close() != nil {
		t.Errorf("got %q, %v", body, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	opts.Addr = "not an address"
	if err := Component(opts).Run(t.Context()); err == nil {
		t.Error("an impossible address was opened")
	}
}
