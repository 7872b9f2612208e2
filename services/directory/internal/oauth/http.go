package oauth

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxBody is the largest answer of an issuer in octets.
	maxBody = 1 << 20
	// maxText is how much of an answer that says what is wrong is read.
	maxText = 256
	// maxConns bounds the connections to an issuer; more requests wait, within their time.
	maxConns = 32
)

// What a request is for, as it stands in metrics.
const (
	forDiscovery     = "discovery"
	forKeys          = "keys"
	forIntrospection = "introspection"
)

type purposeKey struct{}

// purpose marks requests that are made with the context.
func purpose(ctx context.Context, of string) context.Context {
	return context.WithValue(ctx, purposeKey{}, of)
}

// newClient makes an HTTP client whose answers are bounded in time and size, and which goes where it is sent and nowhere else.
func newClient(o Options, requests *prometheus.CounterVec) *http.Client {
	return &http.Client{
		Timeout: o.Timeout,
		Transport: &bounded{requests: requests, next: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
			MaxConnsPerHost:        maxConns,
			MaxIdleConnsPerHost:    maxConns,
			IdleConnTimeout:        o.Timeout * 10,
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bounded limits the body of answers and counts them.
type bounded struct {
	next     http.RoundTripper
	requests *prometheus.CounterVec
}

// RoundTrip implements http.RoundTripper.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	of, _ := r.Context().Value(purposeKey{}).(string)
	resp, err := b.next.RoundTrip(r)
	result := "ok"
	if err != nil || resp.StatusCode != http.StatusOK {
		result = "error"
	}
	b.requests.WithLabelValues(of, result).Inc()
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", of, err)
	}
	if resp.StatusCode != http.StatusOK { // its text goes into an error
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxText), resp.Body}
		return resp, nil
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxBody)
	return resp, nil
}
