// Package secrets keeps the services' certificates in Secrets of Kubernetes, in the namespace of the pod that it runs in.
package secrets

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// serviceAccount is where Kubernetes puts a pod's identity.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// maxAnswer bounds what is read of an answer, in octets; a Secret has at most 1 MiB, in base64.
const maxAnswer = 4 << 20

// ErrConflict is that another has changed the Secret meanwhile.
var ErrConflict = errors.New("the Secret was changed by another")

// Client reads and writes Secrets. The few calls that this takes do not need the library of Kubernetes.
type Client struct {
	base  string // URL of the namespace's Secrets
	token func() (string, error)
	http  *http.Client
}

// InCluster makes a Client with the identity of the pod.
func InCluster() (*Client, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("find Kubernetes: this is no pod (KUBERNETES_SERVICE_HOST is not set)")
	}
	namespace, err := os.ReadFile(filepath.Join(serviceAccount, "namespace"))
	if err != nil {
		return nil, fmt.Errorf("find own namespace: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(serviceAccount, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read authority of Kubernetes: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("read authority of Kubernetes: no certificate in ca.crt")
	}
	return New("https://"+net.JoinHostPort(host, port), strings.TrimSpace(string(namespace)),
		func() (string, error) {
			token, err := os.ReadFile(filepath.Join(serviceAccount, "token"))
			return strings.TrimSpace(string(token)), err
		}, &http.Client{
			Timeout:   30 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		}), nil
}

// New makes a Client of an API server and a namespace.
func New(server, namespace string, token func() (string, error), client *http.Client) *Client {
	return &Client{base: server + "/api/v1/namespaces/" + url.PathEscape(namespace) + "/secrets/", token: token, http: client}
}

// Secret is what is read and written of one.
type Secret struct {
	Data    map[string][]byte
	version string // resourceVersion
}

type secretJSON struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion,omitempty"`
	} `json:"metadata"`
	Data map[string][]byte `json:"data,omitempty"`
}

// Get reads a Secret, which must exist.
func (c *Client) Get(ctx context.Context, name string) (Secret, error) {
	s, err := c.do(ctx, http.MethodGet, name, nil)
	if err != nil {
		return Secret{}, fmt.Errorf("read Secret %s: %w", name, err)
	}
	return Secret{Data: s.Data, version: s.Metadata.ResourceVersion}, nil
}

// Put sets keys of a Secret that was read before. Errors: ErrConflict, if it has changed since.
func (c *Client) Put(ctx context.Context, name string, s Secret) error {
	patch := secretJSON{Data: s.Data}
	patch.Metadata.ResourceVersion = s.version
	if _, err := c.do(ctx, http.MethodPatch, name, &patch); err != nil {
		return fmt.Errorf("write Secret %s: %w", name, err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, name string, body *secretJSON) (*secretJSON, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+url.PathEscape(name), content)
	if err != nil {
		return nil, err
	}
	token, err := c.token()
	if err != nil {
		return nil, fmt.Errorf("read token: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusConflict:
		return nil, ErrConflict
	default:
		var status struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(answer, &status) // a proxy may answer otherwise: then the status code alone says it
		return nil, fmt.Errorf("%s: %s", resp.Status, status.Message)
	}
	out := &secretJSON{}
	return out, json.Unmarshal(answer, out)
}
