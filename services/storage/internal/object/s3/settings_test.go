package s3

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	miniogo "github.com/minio/minio-go/v7"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/testserver/minio"
	"github.com/yubin-mail/yubin/pkg/testserver/versitygw"
)

func TestEncryption(t *testing.T) {
	server := minio.StartTLS(t)
	bucket := server.Bucket(t)
	key := write(t, base64.StdEncoding.EncodeToString(noise(32)))
	large := noise(9 << 20)
	ca := "--storage-s3-ca=" + server.CAFile
	for name, c := range map[string]struct {
		flags  []string
		header string
		want   string
	}{
		"s3":       {nil, "X-Amz-Server-Side-Encryption", "AES256"},
		"kms":      {[]string{"--storage-s3-kms-key=" + minio.KMSKey}, "X-Amz-Server-Side-Encryption", "aws:kms"},
		"customer": {[]string{"--storage-s3-customer-key-file=" + key}, "X-Amz-Server-Side-Encryption-Customer-Algorithm", "AES256"},
	} {
		s := open(t, server.Endpoint, bucket, server.AccessKey, server.SecretKey,
			append(c.flags, ca, "--storage-s3-prefix="+name, "--storage-s3-encryption="+name)...)
		if err := errors.Join(
			s.Put(t.Context(), "small", strings.NewReader("secret"), 6), s.Put(t.Context(), "large", bytes.NewReader(large), -1),
		); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := read(t.Context(), s, "large", 8<<20-5, 10)
		if err != nil || !bytes.Equal(got, large[8<<20-5:][:10]) {
			t.Errorf("%s: read %x, %v", name, got, err)
		}
		if got, err := read(t.Context(), s, "small", 0, -1); err != nil || string(got) != "secret" {
			t.Errorf("%s: read %q, %v", name, got, err)
		}
		info, err := s.core.StatObject(t.Context(), bucket, name+"/small", miniogo.StatObjectOptions{ServerSideEncryption: s.readOnly()})
		if err != nil || info.Metadata.Get(c.header) != c.want {
			t.Errorf("%s: the service says %v, %v", name, info.Metadata, err)
		}
	}
	without := open(t, server.Endpoint, bucket, server.AccessKey, server.SecretKey, ca, "--storage-s3-prefix=customer")
	if got, err := read(t.Context(), without, "small", 0, -1); err == nil {
		t.Errorf("read %q without the key", got)
	}
}

func TestServiceMustBeTrusted(t *testing.T) {
	server := minio.StartTLS(t)
	s, err := New(configure(t, "--storage-s3-endpoint="+server.Endpoint, "--storage-s3-bucket="+server.Bucket(t),
		"--storage-s3-access-key="+server.AccessKey, "--storage-s3-secret-key-file="+write(t, server.SecretKey)), logger(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "--storage-s3-ca") {
		t.Errorf("an unknown authority: %v", err)
	}
}

func TestBucketIsLookedFor(t *testing.T) {
	server := minio.Start(t)
	for name, c := range map[string]struct {
		bucket, secret string
		flags          []string
		want           string
	}{
		"there":        {server.Bucket(t), server.SecretKey, nil, ""},
		"missing":      {"missing", server.SecretKey, nil, "--storage-s3-create-bucket"},
		"made":         {"made", server.SecretKey, []string{"--storage-s3-create-bucket"}, ""},
		"wrong secret": {server.Bucket(t), "wrong", nil, "are the access key and its secret right"},
	} {
		s, err := New(configure(t, append(c.flags, "--storage-s3-endpoint="+server.Endpoint, "--storage-s3-bucket="+c.bucket,
			"--storage-s3-access-key="+server.AccessKey, "--storage-s3-secret-key-file="+write(t, c.secret))...), logger(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Check(t.Context()); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestCredentialsAreFound(t *testing.T) {
	server := minio.Start(t)
	bucket := server.Bucket(t)
	file := write(t, fmt.Sprintf("[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n\n[mail]\naws_access_key_id = %s\naws_secret_access_key = %s",
		server.AccessKey, server.SecretKey))
	identity := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"Code":"Success","AccessKeyId":%q,"SecretAccessKey":%q,"Token":"","Expiration":%q}`,
			server.AccessKey, server.SecretKey, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer identity.Close()
	for name, c := range map[string]struct {
		flags []string
		env   map[string]string
	}{
		"environment":       {nil, map[string]string{"AWS_ACCESS_KEY_ID": server.AccessKey, "AWS_SECRET_ACCESS_KEY": server.SecretKey}},
		"file and profile":  {[]string{"--storage-s3-credentials-file=" + file, "--storage-s3-profile=mail"}, nil},
		"file by variables": {nil, map[string]string{"AWS_SHARED_CREDENTIALS_FILE": file, "AWS_PROFILE": "mail"}},
		"container":         {nil, map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": identity.URL}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir())
			for _, variable := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"} {
				t.Setenv(variable, "")
			}
			for variable, value := range c.env {
				t.Setenv(variable, value)
			}
			s, err := New(configure(t, append(c.flags, "--storage-s3-endpoint="+server.Endpoint, "--storage-s3-bucket="+bucket)...), logger(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Check(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAllThatIsWrongIsToldAtOnce(t *testing.T) {
	var cfg Config
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	cfg.Flags(fs)
	if err := fs.Parse([]string{
		"--storage-s3-bucket=No", "--storage-s3-endpoint=ftp://x/y", "--storage-s3-prefix=../x", "--storage-s3-addressing=none", "--storage-s3-access-key=a",
		"--storage-s3-ca=/nowhere", "--storage-s3-encryption=rot13", "--storage-s3-kms-key=k", "--storage-s3-timeout=0s", "--storage-s3-attempts=0",
		"--storage-s3-max-connections=0", "--storage-s3-part-size=1MB", "--storage-s3-customer-key-file=k",
	}); err != nil {
		t.Fatal(err)
	}
	all := errors.Join(cfg.Validate()...).Error()
	for _, flag := range []string{"bucket", "endpoint", "prefix", "addressing", "secret-key-file", "ca", "encryption", "kms-key", "timeout", "attempts",
		"max-connections", "part-size", "customer-key-file"} {
		if !slices.ContainsFunc(strings.Split(all, "\n"), func(line string) bool { return strings.HasPrefix(line, "--storage-s3-"+flag+":") }) {
			t.Errorf("nothing said of %s in\n%s", flag, all)
		}
	}
}

func TestCustomerKeyIsNotSentInTheClear(t *testing.T) {
	var cfg Config
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	cfg.Flags(fs)
	if err := fs.Parse([]string{
		"--storage-s3-bucket=mail", "--storage-s3-endpoint=http://127.0.0.1", "--storage-s3-encryption=customer",
		"--storage-s3-customer-key-file=" + write(t, base64.StdEncoding.EncodeToString(noise(32))),
	}); err != nil {
		t.Fatal(err)
	}
	if errs := cfg.Validate(); len(errs) != 1 || !strings.Contains(errs[0].Error(), "https://") {
		t.Errorf("got %v", errs)
	}
}

func TestUnfinishedUploadsAreSwept(t *testing.T) {
	server := versitygw.Start(t)
	s := open(t, server.Endpoint, server.Bucket(t), server.AccessKey, server.SecretKey, "--storage-s3-prefix=mail")
	begin := func(key string) {
		t.Helper()
		upload, err := s.core.NewMultipartUpload(t.Context(), s.cfg.bucket, key, s.options())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.core.PutObjectPart(t.Context(), s.cfg.bucket, key, upload, 1, io.LimitReader(bytes.NewReader(noise(5<<20)), 5<<20), 5<<20,
			miniogo.PutObjectPartOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	begin("mail/packs/one")
	begin("mail/packs/two")
	begin("others/three")
	for _, step := range []struct {
		before time.Time
		want   int
	}{{time.Now().Add(-time.Hour), 0}, {time.Now().Add(time.Hour), 2}, {time.Now().Add(time.Hour), 0}} {
		if n, err := s.Sweep(t.Context(), step.before); err != nil || n != step.want {
			t.Errorf("removed %d uploads, %v; want %d", n, err, step.want)
		}
	}
	left, err := s.core.ListMultipartUploads(t.Context(), s.cfg.bucket, "", "", "", "", 10)
	if err != nil || len(left.Uploads) != 1 || left.Uploads[0].Key != "others/three" {
		t.Errorf("left are %v, %v", left.Uploads, err)
	}
}
