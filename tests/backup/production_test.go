package backup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// program finds a program of PostgreSQL, which Debian keeps off the PATH.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	require.NoError(t, err)
	require.NotEmpty(t, found, "%s is missing: tests/setup/install installs it", name)
	return found[len(found)-1]
}

// run runs a program that must succeed.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program(t, name), args...).CombinedOutput()
	require.NoError(t, err, "%s: %s", name, out)
}

// copyStores copies databases and bodies of a system that runs: databases first.
func copyStores(t *testing.T, s *harness.System) harness.Stores {
	t.Helper()
	dumps := dump(t, s.Stores)
	bucket := copyBucket(t, s.Stores)
	return load(t, s.Stores, dumps, bucket)
}

// dump writes each database into a file, storage first.
func dump(t *testing.T, stores harness.Stores) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, service := range []string{"storage", "quota", "directory"} {
		files[service] = filepath.Join(t.TempDir(), service)
		run(t, "pg_dump", "--format=custom", "--file", files[service], stores.Databases[service])
	}
	return files
}

// load makes databases of what dump has written.
func load(t *testing.T, stores harness.Stores, dumps map[string]string, bucket string) harness.Stores {
	t.Helper()
	restored := harness.Stores{Postgres: stores.Postgres, MinIO: stores.MinIO, NATS: stores.NATS, Bucket: bucket, Databases: map[string]string{}}
	for service, file := range dumps {
		restored.Databases[service] = stores.Postgres.Database(t)
		run(t, "pg_restore", "--no-owner", "--exit-on-error", "--dbname", restored.Databases[service], file)
	}
	return restored
}

// copyBucket copies all objects into a new bucket.
func copyBucket(t *testing.T, stores harness.Stores) string {
	t.Helper()
	client, err := minio.New(stores.MinIO.Addr, &minio.Options{Creds: credentials.NewStaticV4(stores.MinIO.AccessKey, stores.MinIO.SecretKey, "")})
	require.NoError(t, err)
	to := stores.MinIO.Bucket(t)
	for info := range client.ListObjects(t.Context(), stores.Bucket, minio.ListObjectsOptions{Recursive: true}) {
		require.NoError(t, info.Err)
		_, err := client.CopyObject(t.Context(), minio.CopyDestOptions{Bucket: to, Object: info.Key}, minio.CopySrcOptions{Bucket: stores.Bucket, Object: info.Key})
		require.NoError(t, err)
	}
	return to
}

// storageFlags are the settings of a storage service on stores.
func storageFlags(t *testing.T, stores harness.Stores) []string {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte(stores.MinIO.SecretKey), 0o600))
	return []string{
		"--data-dir", t.TempDir(), "--storage-database-url", stores.Databases["storage"], "--storage-s3-endpoint", "http://" + stores.MinIO.Addr,
		"--storage-s3-bucket", stores.Bucket, "--storage-s3-access-key", stores.MinIO.AccessKey, "--storage-s3-secret-key-file", secret,
	}
}

// production starts a system with one replica of each service.
func production(t *testing.T, stores harness.Stores, accounts ...string) *harness.System {
	t.Helper()
	return harness.Start(t, harness.Options{
		Shape: harness.Production, Accounts: accounts, Args: []string{"--storage-catalog-interval", "1s"},
		ProductionOptions: harness.ProductionOptions{Replicas: 1, Stores: stores},
	})
}

func TestPostgreSQLAndS3ArePutBack(t *testing.T) {
	s := production(t, harness.Stores{}, "alice")
	furnish(t, s, "alice")
	early := copyStores(t, s)
	want := mailboxes(t, s, "alice")
	for i := range 3 {
		s.Deliver(t, "alice", harness.Compose(fmt.Sprint("Later ", i), "text"))
	}
	waitForCatalog(t, s)
	full := mailboxes(t, s, "alice")
	late := dump(t, s.Stores)
	s.Stop(t)

	t.Run("of one moment", func(t *testing.T) {
		mustOffline(t, append([]string{"storage", "after-restore"}, storageFlags(t, early)...)...)
		again := production(t, early)
		got := mailboxes(t, again, "alice")
		requireSame(t, want, got)
		require.Greater(t, got["INBOX"].uidNext, full["INBOX"].uidNext, "no UID is given out for a second message")
		requireSound(t, again)
		again.Stop(t)
	})

	t.Run("the bodies older than the databases", func(t *testing.T) {
		again := production(t, load(t, s.Stores, late, early.Bucket))
		c := again.IMAPClient(t, 0, "alice", nil)
		selected, err := c.Select("INBOX", nil).Wait()
		require.NoError(t, err)
		_, err = c.Fetch(imap.SeqSetNum(selected.NumMessages), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect()
		require.Error(t, err, "a body that is not there is an error, not an empty message")
		_, _, err = again.TryCLI(t, "", "storage", "verify")
		require.Error(t, err)
		again.CLI(t, "storage", "repair", "--drop-missing")
		requireSame(t, want, mailboxes(t, again, "alice"))
		again.CLI(t, "quota", "reconcile", "--repair")
		again.NoDrift(t)
		again.Stop(t)
	})

	t.Run("the database of storage lost", func(t *testing.T) {
		lost := s.Stores
		lost.Databases = map[string]string{
			"directory": s.Stores.Databases["directory"], "quota": s.Stores.Databases["quota"], "storage": s.Stores.Postgres.Database(t),
		}
		args := append([]string{"storage", "rebuild"}, storageFlags(t, lost)...)
		_, _, err := offline(t, slices.Concat(args, []string{"--storage-database-url", s.Stores.Databases["storage"]})...)
		require.Error(t, err, "a rebuild over a database that is there")
		r := parseReport(t, mustOffline(t, append(args, "--json")...))
		require.Len(t, r.Accounts, 1)
		require.Empty(t, r.Lost)
		again := production(t, lost)
		requireSame(t, full, mailboxes(t, again, "alice"))
		requireSound(t, again)
		again.Stop(t)
	})
}
