// Package versitygw runs Versity's S3 gateway over a directory for tests: a second S3 server beside MinIO.
package versitygw

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/yubin-mail/yubin/pkg/testserver/internal/process"
)

// source is what is built where no versitygw is on PATH.
const source = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"

// Server is a gateway on one directory.
type Server struct {
	// Endpoint is the URL.
	Endpoint             string
	AccessKey, SecretKey string

	dir     string
	buckets atomic.Int64
}

// Start starts a server of the test's own, which ends with it. It needs a file system with extended attributes.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{AccessKey: "yubin-test", SecretKey: "yubin-test-secret", dir: tb.TempDir()} //nolint:gosec // of a test server
	binary := process.Find(tb, "versitygw", source)
	p := process.Start(tb, process.Command{
		Name: "versitygw",
		Args: func(addr string) []string {
			return []string{binary, "--quiet", "--port", addr, "--health", "/health", "posix", s.dir}
		},
		Env: []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey},
		Ready: func(ctx context.Context, addr string) bool {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/health", nil)
			if err != nil {
				return false
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return false
			}
			return res.Body.Close() == nil && res.StatusCode == http.StatusOK
		},
	})
	s.Endpoint = "http://" + p.Addr
	return s
}

// Bucket makes an empty bucket.
func (s *Server) Bucket(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("bucket-%d", s.buckets.Add(1))
	// A bucket is a folder.
	if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
		tb.Fatalf("make bucket: %v", err)
	}
	return name
}
