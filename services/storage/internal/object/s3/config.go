package s3

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/encrypt"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// Config says where the bucket is and how to talk to it. Without a bucket there is no S3.
type Config struct {
	bucket, endpoint, prefix, region, addressing string
	accessKey, secretKeyFile                     string
	credentialsFile, profile                     string
	caFile                                       string
	encryption, kmsKey, customerKeyFile          string
	storageClass                                 string
	createBucket                                 bool
	timeout                                      time.Duration
	attempts, connections                        int
	partSize                                     config.Size

	dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: to where the names lead
}

// Limits of a part (Amazon S3 User Guide, "Amazon S3 multipart upload limits"): the least of all but the last one, and what one PUT may take
// here, since it is held in memory.
const (
	minPart = 5 * config.MiB
	maxPart = 256 * config.MiB
)

// How the bucket is named in a request.
var addressings = map[string]minio.BucketLookupType{
	"auto": minio.BucketLookupAuto, "path": minio.BucketLookupPath, "virtual": minio.BucketLookupDNS,
}

// Flags declares the settings.
func (c *Config) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.bucket, "storage-s3-bucket", "", "bucket for the bodies of messages; empty: they are kept in the data directory")
	fs.StringVar(&c.endpoint, "storage-s3-endpoint", "https://s3.amazonaws.com", "URL of the S3 service; http:// is without encryption")
	fs.StringVar(&c.prefix, "storage-s3-prefix", "", "what the keys in the bucket begin with, as mail/, if it is shared with others")
	fs.StringVar(&c.region, "storage-s3-region", "", "region of the bucket; empty: AWS_REGION, or what the service says")
	fs.StringVar(&c.addressing, "storage-s3-addressing", "auto", "where requests name the bucket: path, virtual (in the host name), or auto (virtual on Amazon, else path)")
	fs.StringVar(&c.accessKey, "storage-s3-access-key", "", "access key; empty: environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), "+
		"credentials file, or the identity that the cloud gives (web identity, ECS, EC2)")
	fs.StringVar(&c.secretKeyFile, "storage-s3-secret-key-file", "", "file with the secret of --storage-s3-access-key")
	fs.StringVar(&c.credentialsFile, "storage-s3-credentials-file", "", "AWS credentials file; empty: AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials")
	fs.StringVar(&c.profile, "storage-s3-profile", "", "profile in the credentials file; empty: AWS_PROFILE or default")
	fs.StringVar(&c.caFile, "storage-s3-ca", "", "PEM file of certificate authorities to trust besides the system's")
	fs.StringVar(&c.encryption, "storage-s3-encryption", "none", "encryption by the service: none (the bucket's default), s3 (SSE-S3), kms (SSE-KMS), customer (SSE-C)")
	fs.StringVar(&c.kmsKey, "storage-s3-kms-key", "", "id of the key for --storage-s3-encryption=kms; empty: the service's default")
	fs.StringVar(&c.customerKeyFile, "storage-s3-customer-key-file", "", "file with the key for --storage-s3-encryption=customer: 32 octets in Base64; without it no body can be read")
	fs.StringVar(&c.storageClass, "storage-s3-storage-class", "", "storage class of objects; empty: the bucket's default")
	fs.BoolVar(&c.createBucket, "storage-s3-create-bucket", false, "make the bucket if it does not exist")
	fs.DurationVar(&c.timeout, "storage-s3-timeout", 30*time.Second, "how long one request, or a pause in a download, may take")
	fs.IntVar(&c.attempts, "storage-s3-attempts", 4, "how often a request is tried that fails for a reason that may pass")
	fs.IntVar(&c.connections, "storage-s3-max-connections", 128, "most connections to the service")
	config.SizeVar(fs, &c.partSize, "storage-s3-part-size", 8*config.MiB, "size of the parts in which objects of unknown size above it are written; each such write takes this memory")
}

// Enabled tells whether a bucket is set.
func (c *Config) Enabled() bool { return c.bucket != "" }

// Validate tells all that is wrong.
func (c *Config) Validate() []error {
	var errs []error
	if !c.Enabled() {
		return nil
	}
	bad := func(flag, format string, args ...any) {
		errs = append(errs, config.Errorf("storage-s3-"+flag, format, args...))
	}
	if !bucketName.MatchString(c.bucket) {
		bad("bucket", "%q: 3 to 63 of a-z 0-9 . -", c.bucket)
	}
	if _, err := c.url(); err != nil {
		bad("endpoint", "%w", err)
	}
	if c.prefix != "" && object.CheckKey(strings.TrimSuffix(c.prefix, "/")) != nil || len(c.prefix) > maxPrefix {
		bad("prefix", "%q: up to %d of A-Z a-z 0-9 . _ - in names separated by '/'", c.prefix, maxPrefix)
	}
	if _, ok := addressings[c.addressing]; !ok {
		bad("addressing", "%q: auto, path or virtual", c.addressing)
	}
	if (c.accessKey == "") != (c.secretKeyFile == "") {
		bad("secret-key-file", "goes together with --storage-s3-access-key")
	}
	if c.secretKeyFile != "" {
		if _, err := secret(c.secretKeyFile); err != nil {
			bad("secret-key-file", "%w", err)
		}
	}
	if _, err := c.roots(); err != nil {
		bad("ca", "%w", err)
	}
	errs = append(errs, c.validateEncryption()...)
	errs = config.Positive(errs, "storage-s3-timeout", c.timeout)
	errs = config.Between(errs, "storage-s3-attempts", c.attempts, 1, 20)
	errs = config.AtLeast(errs, "storage-s3-max-connections", c.connections, 1)
	return config.Between(errs, "storage-s3-part-size", c.partSize, minPart, maxPart)
}

func (c *Config) validateEncryption() []error {
	var errs []error
	bad := func(flag, format string, args ...any) {
		errs = append(errs, config.Errorf("storage-s3-"+flag, format, args...))
	}
	if c.kmsKey != "" && c.encryption != "kms" {
		bad("kms-key", "is for --storage-s3-encryption=kms")
	}
	if c.customerKeyFile != "" && c.encryption != "customer" {
		bad("customer-key-file", "is for --storage-s3-encryption=customer")
	}
	switch c.encryption {
	case "none", "s3", "kms":
	case "customer":
		if _, err := c.serverSide(); err != nil {
			bad("customer-key-file", "%w", err)
		}
		if u, err := c.url(); err == nil && u.Scheme != "https" {
			bad("encryption", "customer: needs an endpoint with https://, for the key goes with each request")
		}
	default:
		bad("encryption", "%q: none, s3, kms or customer", c.encryption)
	}
	return errs
}

// maxPrefix leaves room for the keys: S3 allows 1,024 octets in all.
const maxPrefix = 256

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func (c *Config) url() (*url.URL, error) {
	u, err := url.Parse(c.endpoint)
	if err != nil {
		return nil, fmt.Errorf("%q: not a URL", c.endpoint)
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%q: write https://host or https://host:port", c.endpoint)
	}
	return u, nil
}

// secret reads a file with one line.
func secret(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if s := strings.TrimSpace(string(content)); s != "" {
		return s, nil
	}
	return "", fmt.Errorf("%s is empty", file)
}

// roots gives the authorities to trust; nil: the system's.
func (c *Config) roots() (*x509.CertPool, error) {
	if c.caFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.caFile)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a container without certificates
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in it", c.caFile)
	}
	return pool, nil
}

// serverSide gives the encryption to ask for; nil: none.
func (c *Config) serverSide() (encrypt.ServerSide, error) {
	switch c.encryption {
	case "s3":
		return encrypt.NewSSE(), nil
	case "kms":
		return encrypt.NewSSEKMS(c.kmsKey, nil)
	case "customer":
		text, err := secret(c.customerKeyFile)
		if err != nil {
			return nil, err
		}
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) != 32 {
			return nil, fmt.Errorf("%s: not 32 octets in Base64 (openssl rand -base64 32 makes them)", c.customerKeyFile)
		}
		return encrypt.NewSSEC(key)
	}
	return nil, nil
}
