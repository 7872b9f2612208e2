package tlsconf

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// Authority is a small CA for mutual TLS between services where none is at hand. In
// Kubernetes cert-manager takes its place.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var errKeyType = errors.New("the CA's key is not ECDSA")

// NewAuthority opens the CA in dir (ca.crt, ca.key), or makes it if there is none. A CA that
// cannot be read is an error: it is never replaced, because services trust it.
func NewAuthority(dir string) (*Authority, error) {
	certFile, keyFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	if _, err := os.Stat(certFile); errors.Is(err, fs.ErrNotExist) {
		if err := makeCA(certFile, keyFile); err != nil {
			return nil, err
		}
	}
	pair, err := readPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errKeyType
	}
	return &Authority{dir: dir, cert: pair.Leaf, key: key}, nil
}

func makeCA(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	template, err := newTemplate(pkix.Name{CommonName: "Yubin service CA"}, nil, caLifetime)
	if err != nil {
		return err
	}
	template.IsCA = true
	template.MaxPathLenZero = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make CA: %w", err)
	}
	return writePair(certFile, keyFile, der, key)
}

// serviceName is what a service may be called: it becomes a file name and part of a URI.
var serviceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// Issue gives the files of a service's certificate, valid as client and as server for a year, and
// makes or renews it if needed.
func (a *Authority) Issue(service string, hosts ...string) (Files, error) {
	if !serviceName.MatchString(service) || service == "ca" {
		return Files{}, fmt.Errorf("issue certificate: %q is no service name", service)
	}
	files := Files{
		CA:   filepath.Join(a.dir, "ca.crt"),
		Cert: filepath.Join(a.dir, service+".crt"),
		Key:  filepath.Join(a.dir, service+".key"),
	}
	pair, err := readPair(files.Cert, files.Key)
	if err == nil && usable(pair.Leaf, hosts, time.Now()) && ServiceOf(pair.Leaf) == service && pair.Leaf.CheckSignatureFrom(a.cert) == nil {
		return files, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Files{}, fmt.Errorf("make key: %w", err)
	}
	template, err := newTemplate(pkix.Name{CommonName: service}, hosts, leafLifetime)
	if err != nil {
		return Files{}, err
	}
	template.URIs = append(template.URIs, serviceURI(service))
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return Files{}, fmt.Errorf("issue certificate: %w", err)
	}
	return files, writePair(files.Cert, files.Key, der, key)
}
