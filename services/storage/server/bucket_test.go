package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yubin-mail/yubin/pkg/testserver/minio"
)

// bucketFlags chooses a bucket of a server.
func bucketFlags(t *testing.T, server *minio.Server) []string {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(server.SecretKey), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{
		"--storage-s3-endpoint=" + server.Endpoint, "--storage-s3-bucket=" + server.Bucket(t), "--storage-s3-access-key=" + server.AccessKey,
		"--storage-s3-secret-key-file=" + secret, "--storage-s3-attempts=2",
	}
}

func TestMailLivesInABucketThroughRestartsOfBoth(t *testing.T) {
	server := minio.Start(t)
	flags := append(bucketFlags(t, server), "--storage-read-cache-dir="+t.TempDir())
	h := start(t, flags...)
	small, large := mail("small", "x"), mail("large", strings.Repeat("all work and no play\r\n", 200_000))
	uids := map[uint32]string{h.mustDeliver("bob", small): small, h.mustDeliver("bob", large): large}
	h.stop()
	server.Kill(t)
	server.Restart(t)
	h.run(flags...)
	inbox := h.mailbox("bob", "INBOX").GetMailboxId()
	for uid, want := range uids {
		if got := h.read("bob", inbox, uid, 0, 0); got != want {
			t.Errorf("message %d reads %d octets, want %d", uid, len(got), len(want))
		}
	}
	server.Kill(t)
	for uid, want := range uids {
		if got := h.read("bob", inbox, uid, 0, 100); got != want[:100] {
			t.Errorf("message %d reads %q without its bucket, though it was read before", uid, got)
		}
	}
	if left, err := os.ReadDir(filepath.Join(h.dir, "bodies")); err == nil {
		t.Errorf("the data directory holds bodies, too: %v", left)
	}
}
