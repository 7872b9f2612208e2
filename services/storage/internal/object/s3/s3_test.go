package s3

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/testserver/minio"
	"github.com/yubin-mail/yubin/pkg/testserver/versitygw"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/object/objecttest"
)

// configure reads flags as the process does.
func configure(t testing.TB, args ...string) Config {
	t.Helper()
	var cfg Config
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	cfg.Flags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	for _, err := range cfg.Validate() {
		t.Fatal(err)
	}
	return cfg
}

func open(t testing.TB, endpoint, bucket, access, secret string, args ...string) *Store {
	t.Helper()
	return openWith(t, configure(t, append([]string{
		"--storage-s3-endpoint=" + endpoint, "--storage-s3-bucket=" + bucket, "--storage-s3-access-key=" + access,
		"--storage-s3-secret-key-file=" + write(t, secret),
	}, args...)...))
}

func openWith(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := New(cfg, logger(t), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func logger(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

func write(t testing.TB, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestMinIO(t *testing.T) {
	server := minio.Start(t)
	objecttest.Run(t, func(t *testing.T) object.Store {
		return open(t, server.Endpoint, server.Bucket(t), server.AccessKey, server.SecretKey)
	})
}

// TestVirtualHostedStyle has the bucket's name in the host of each request, which no name server of the test's leads to.
func TestVirtualHostedStyle(t *testing.T) {
	server := minio.Start(t)
	objecttest.Run(t, func(t *testing.T) object.Store {
		_, port, err := net.SplitHostPort(server.Addr)
		if err != nil {
			t.Fatal(err)
		}
		bucket := server.Bucket(t)
		cfg := configure(t, "--storage-s3-endpoint=http://"+net.JoinHostPort(minio.Domain, port), "--storage-s3-addressing=virtual", "--storage-s3-bucket="+bucket,
			"--storage-s3-access-key="+server.AccessKey, "--storage-s3-secret-key-file="+write(t, server.SecretKey))
		cfg.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if want := net.JoinHostPort(bucket+"."+minio.Domain, port); addr != want {
				return nil, fmt.Errorf("a connection to %s, not to %s", addr, want)
			}
			return (&net.Dialer{}).DialContext(ctx, network, server.Addr)
		}
		return openWith(t, cfg)
	})
}

func TestVersityGateway(t *testing.T) {
	server := versitygw.Start(t)
	objecttest.Run(t, func(t *testing.T) object.Store {
		return open(t, server.Endpoint, server.Bucket(t), server.AccessKey, server.SecretKey, "--storage-s3-prefix=mail/prod")
	})
}
