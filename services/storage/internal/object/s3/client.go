package s3

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// client makes the client. It tries each request once: package s3 tries again by itself, to count and to bound it.
func (c *Config) client() (*minio.Core, error) {
	u, err := c.url()
	if err != nil {
		return nil, err
	}
	creds, err := c.credentials()
	if err != nil {
		return nil, err
	}
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	region := c.region
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if region == "" {
			region = os.Getenv(name)
		}
	}
	core, err := minio.NewCore(u.Host, &minio.Options{
		Creds: creds, Secure: u.Scheme == "https", Transport: transport, Region: region, BucketLookup: addressings[c.addressing], MaxRetries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("make S3 client: %w", err)
	}
	return core, nil
}

func (c *Config) transport() (*http.Transport, error) {
	roots, err := c.roots()
	if err != nil {
		return nil, fmt.Errorf("load certificate authorities: %w", err)
	}
	dial := c.dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: min(c.timeout, 10*time.Second), KeepAlive: 15 * time.Second}).DialContext
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dial,
		TLSHandshakeTimeout: min(c.timeout, 10*time.Second),
		// All connections may stay open between requests: a busy replica opens none.
		MaxConnsPerHost: c.connections, MaxIdleConns: c.connections, MaxIdleConnsPerHost: c.connections,
		IdleConnTimeout:       90 * time.Second,
		ResponseHeaderTimeout: c.timeout,
		// Bodies go as they are.
		DisableCompression: true,
		TLSClientConfig:    &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}, nil
}

// errNoCredentials is the end of the search.
var errNoCredentials = errors.New("no credentials: set --storage-s3-access-key and --storage-s3-secret-key-file, or AWS_ACCESS_KEY_ID and " +
	"AWS_SECRET_ACCESS_KEY, or give the process an identity of the cloud")

func (c *Config) credentials() (*credentials.Credentials, error) {
	if c.accessKey != "" {
		key, err := secret(c.secretKeyFile)
		if err != nil {
			return nil, fmt.Errorf("read secret key: %w", err)
		}
		return credentials.NewStaticV4(c.accessKey, key, ""), nil
	}
	file := credentials.Provider(&credentials.FileAWSCredentials{Filename: c.credentialsFile, Profile: c.profile})
	if c.credentialsFile != "" || c.profile != "" {
		return credentials.New(file), nil // who names it means it
	}
	return credentials.New(&chain{providers: []credentials.Provider{
		&credentials.EnvAWS{}, file, &credentials.IAM{Client: &http.Client{Timeout: 10 * time.Second}},
	}}), nil
}

// chain gives the credentials of the first provider that has any. Unlike the library's it fails where none has, or one does for a moment
// not answer, instead of going on without a signature.
type chain struct {
	providers []credentials.Provider
	current   credentials.Provider
}

// RetrieveWithCredContext implements credentials.Provider.
func (c *chain) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	failed := []error{errNoCredentials}
	for _, p := range c.providers {
		v, err := p.RetrieveWithCredContext(cc)
		if err == nil && v.AccessKeyID != "" && v.SecretAccessKey != "" {
			c.current = p
			return v, nil
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	return credentials.Value{}, errors.Join(failed...)
}

// Retrieve implements credentials.Provider.
func (c *chain) Retrieve() (credentials.Value, error) { return c.RetrieveWithCredContext(nil) }

// IsExpired implements credentials.Provider.
func (c *chain) IsExpired() bool { return c.current == nil || c.current.IsExpired() }
