// Package minio runs a real MinIO for tests: an S3 server that a test can kill and start again.
package minio

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/yubin-mail/yubin/pkg/testserver/internal/process"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
)

// source is what is built where no minio is on PATH.
const source = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"

// KMSKey is the name of the key that SSE-KMS can be asked for.
const KMSKey = "test-key"

// Domain is what follows the bucket's name in the host of a request in virtual-hosted style. No name server knows it.
const Domain = "s3.yubin.test"

// kmsSecret are 32 octets that protect nothing.
const kmsSecret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" //nolint:gosec // of a test server

// Server is a MinIO on one directory.
type Server struct {
	// Endpoint is the URL.
	Endpoint string
	// Addr is its host and port.
	Addr                 string
	AccessKey, SecretKey string
	// CAFile holds the certificate to trust; empty without TLS.
	CAFile string

	dir     string
	process *process.Server
	buckets atomic.Int64
}

// Start starts a server of the test's own, which ends with it. It syncs what it is given to disk, as in production.
func Start(tb testing.TB) *Server {
	tb.Helper()
	return start(tb, newServer(tb), "http", http.DefaultTransport)
}

// StartTLS starts a server that speaks TLS only.
func StartTLS(tb testing.TB) *Server {
	tb.Helper()
	s := newServer(tb)
	pem := s.certify(tb)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return start(tb, s, "https", &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true})
}

func newServer(tb testing.TB) *Server {
	return &Server{AccessKey: "yubin-test", SecretKey: "yubin-test-secret", dir: tb.TempDir()} //nolint:gosec // of a test server
}

func start(tb testing.TB, s *Server, scheme string, transport http.RoundTripper) *Server {
	tb.Helper()
	binary := process.Find(tb, "minio", source)
	client := &http.Client{Transport: transport}
	if err := os.MkdirAll(s.data(), 0o700); err != nil {
		tb.Fatal(err)
	}
	s.process = process.Start(tb, process.Command{
		Name: "MinIO",
		Args: func(addr string) []string {
			return []string{binary, "server", "--quiet", "--address", addr, "--certs-dir", s.certs(), s.data()}
		},
		Env: []string{
			"HOME=" + s.dir, "MINIO_ROOT_USER=" + s.AccessKey, "MINIO_ROOT_PASSWORD=" + s.SecretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off",
			"MINIO_DOMAIN=" + Domain, "MINIO_CALLHOME_ENABLE=off", "MINIO_KMS_SECRET_KEY=" + KMSKey + ":" + kmsSecret,
		},
		Ready: func(ctx context.Context, addr string) bool {
			// What Kubernetes would ask.
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+addr+"/minio/health/ready", nil)
			if err != nil {
				return false
			}
			res, err := client.Do(req)
			if err != nil {
				return false
			}
			return res.Body.Close() == nil && res.StatusCode == http.StatusOK
		},
	})
	s.Addr = s.process.Addr
	s.Endpoint = scheme + "://" + s.Addr
	return s
}

func (s *Server) data() string  { return filepath.Join(s.dir, "data") }
func (s *Server) certs() string { return filepath.Join(s.dir, "certs") }

// certify makes a certificate where MinIO looks for it, and gives it.
func (s *Server) certify(tb testing.TB) []byte {
	tb.Helper()
	cert, key, err := tlsconf.SelfSigned(tb.TempDir(), "127.0.0.1", "localhost")
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.MkdirAll(s.certs(), 0o700); err != nil {
		tb.Fatal(err)
	}
	s.CAFile = filepath.Join(s.certs(), "public.crt")
	for from, to := range map[string]string{cert: s.CAFile, key: filepath.Join(s.certs(), "private.key")} {
		if err := os.Rename(from, to); err != nil {
			tb.Fatal(err)
		}
	}
	pem, err := os.ReadFile(s.CAFile)
	if err != nil {
		tb.Fatal(err)
	}
	return pem
}

// Bucket makes an empty bucket.
func (s *Server) Bucket(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("bucket-%d", s.buckets.Add(1))
	// On one drive a bucket is a folder.
	if err := os.Mkdir(filepath.Join(s.data(), name), 0o700); err != nil {
		tb.Fatalf("make bucket: %v", err)
	}
	return name
}

// PID is the number of the server's process.
func (s *Server) PID() int { return s.process.PID() }

// DataDir is where the server keeps everything.
func (s *Server) DataDir() string { return s.data() }

// Kill ends the server with SIGKILL.
func (s *Server) Kill(testing.TB) { s.process.Kill() }

// Restart starts the server again, on its address and with its objects.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.process.Restart(tb)
}

// Pause makes the server hang, with its connections open, until Resume.
func (s *Server) Pause(tb testing.TB) { s.signal(tb, syscall.SIGSTOP) }

// Resume ends Pause.
func (s *Server) Resume(tb testing.TB) { s.signal(tb, syscall.SIGCONT) }

func (s *Server) signal(tb testing.TB, signal syscall.Signal) {
	tb.Helper()
	if err := s.process.Signal(signal); err != nil {
		tb.Fatalf("signal MinIO: %v", err)
	}
}
