package s3

import (
	"log/slog"
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
	s, err := New(configure(t, append([]string{
		"--storage-s3-endpoint=" + endpoint, "--storage-s3-bucket=" + bucket, "--storage-s3-access-key=" + access,
		"--storage-s3-secret-key-file=" + write(t, secret),
	}, args...)...), logger(t), prometheus.NewRegistry())
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

func TestVersityGateway(t *testing.T) {
	server := versitygw.Start(t)
	objecttest.Run(t, func(t *testing.T) object.Store {
		return open(t, server.Endpoint, server.Bucket(t), server.AccessKey, server.SecretKey, "--storage-s3-prefix=mail/prod")
	})
}
