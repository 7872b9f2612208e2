// Package prometheus runs a real Prometheus for tests: it scrapes, keeps rules and answers queries.
package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/testserver/internal/process"
)

// Server is a Prometheus with a database of its own.
type Server struct {
	process *process.Server
}

// Start starts a server with this configuration file; the test's end stops it.
func Start(tb testing.TB, config string) *Server {
	tb.Helper()
	binary, data := Program(tb, "prometheus"), tb.TempDir()
	return &Server{process: process.Start(tb, process.Command{
		Name: "Prometheus",
		Args: func(addr string) []string {
			return []string{
				binary, "--config.file", config, "--storage.tsdb.path", data, "--web.listen-address", addr, "--log.level", "warn", "--enable-feature", "exemplar-storage",
			}
		},
		Ready: func(ctx context.Context, addr string) bool {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/-/ready", nil)
			if err != nil {
				return false
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return false
			}
			return res.Body.Close() == nil && res.StatusCode == http.StatusOK
		},
	})}
}

// Program gives the path of prometheus or promtool: on PATH, or where tests/setup/install has unpacked Debian's package.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	if file, err := exec.LookPath(name); err == nil {
		return file
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		tb.Fatalf("no %s on PATH, and no cache directory: %v", name, err)
	}
	file := filepath.Join(cache, "yubin-test", "prometheus", "usr", "bin", name)
	if _, err := os.Stat(file); err != nil {
		tb.Fatalf("no %s on PATH, and none that make test-setup has fetched: %v", name, err)
	}
	return file
}

// Series is one series of an answer, in order of time; an instant query gives one sample.
type Series struct {
	Labels  map[string]string
	Samples []Sample
}

// Sample is a value at a time.
type Sample struct {
	Time  time.Time
	Value float64
}

// UnmarshalJSON implements json.Unmarshaler: [seconds, "value"].
func (s *Sample) UnmarshalJSON(text []byte) error {
	var pair [2]any
	if err := json.Unmarshal(text, &pair); err != nil {
		return err
	}
	seconds, ok := pair[0].(float64)
	value, ok2 := pair[1].(string)
	if !ok || !ok2 {
		return fmt.Errorf("a sample is [seconds, value], not %s", text)
	}
	s.Time = time.UnixMilli(int64(seconds * 1000))
	var err error
	s.Value, err = strconv.ParseFloat(value, 64)
	return err
}

// Query evaluates an expression now. A scalar is a series without labels.
func (s *Server) Query(ctx context.Context, expr string) ([]Series, error) {
	return s.ask(ctx, "/api/v1/query", url.Values{"query": {expr}})
}

// Range evaluates an expression at every step between two times.
func (s *Server) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]Series, error) {
	unix := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
	return s.ask(ctx, "/api/v1/query_range", url.Values{
		"query": {expr}, "start": {unix(from)}, "end": {unix(to)}, "step": {strconv.FormatFloat(step.Seconds(), 'f', 3, 64)},
	})
}

func (s *Server) ask(ctx context.Context, path string, parameters url.Values) ([]Series, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.process.Addr+path+"?"+parameters.Encode(), nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("%s: %w", res.Status, err)
	}
	if answer.Status != "success" {
		return nil, errors.New(answer.Error)
	}
	if answer.Data.ResultType == "scalar" {
		var sample Sample
		err := json.Unmarshal(answer.Data.Result, &sample)
		return []Series{{Samples: []Sample{sample}}}, err
	}
	var result []struct {
		Metric map[string]string
		Value  *Sample
		Values []Sample
	}
	if err := json.Unmarshal(answer.Data.Result, &result); err != nil {
		return nil, err
	}
	var series []Series
	for _, r := range result {
		if r.Value != nil {
			r.Values = []Sample{*r.Value}
		}
		series = append(series, Series{Labels: r.Metric, Samples: r.Values})
	}
	return series, nil
}
