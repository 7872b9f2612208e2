package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/sony/gobreaker/v2"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// ErrUnavailable says that the service does not answer, or says that it cannot serve now; a later try may succeed.
var ErrUnavailable = errors.New("S3 service is not available")

const (
	// tripAfter failures in a row the service counts as dead.
	tripAfter = 12
	// probeAfter that time one request is let through again, to see.
	probeAfter = 3 * time.Second
	// firstPause before a second try; it doubles, up to maxPause. Each is shortened at random.
	firstPause = 100 * time.Millisecond
	maxPause   = 3 * time.Second
)

// guard makes requests of one kind: tries again what may pass, and fails at once while the service is dead.
type guard struct {
	cfg     Config
	metrics *metrics
	breaker *gobreaker.CircuitBreaker[struct{}]
}

func (s *Store) newGuard(kind string) *guard {
	g := &guard{cfg: s.cfg, metrics: s.metrics}
	g.metrics.state.WithLabelValues(kind).Set(0)
	g.breaker = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name: kind, Timeout: probeAfter,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= tripAfter },
		IsSuccessful: func(err error) bool { return !errors.Is(err, ErrUnavailable) },
		IsExcluded:   func(err error) bool { return errors.Is(err, errLeft) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			g.metrics.state.WithLabelValues(kind).Set(float64(to))
			if to == gobreaker.StateClosed {
				s.log.Info("the S3 service answers again", "requests", kind)
			} else if from == gobreaker.StateClosed {
				s.log.Error("the S3 service does not answer: requests fail at once until it does", "requests", kind, "endpoint", s.cfg.endpoint)
			}
		},
	})
	return g
}

// errLeft marks the end of a request by its caller, which says nothing of the service.
var errLeft = errors.New("caller left")

// do calls request until it succeeds, fails for good, or has been tried often enough. Each try has its own deadline.
// Errors: ErrUnavailable, object.ErrNotFound, object.ErrFull, ctx.Err(), those of the service.
func (g *guard) do(ctx context.Context, operation string, request func(context.Context) error) error {
	for try := 1; ; try++ {
		_, err := g.breaker.Execute(func() (struct{}, error) { return struct{}{}, g.once(ctx, operation, request) })
		if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
			g.metrics.requests.WithLabelValues(operation, "rejected").Inc()
			return fmt.Errorf("%w: it has not answered for a while", ErrUnavailable)
		}
		if err == nil || try >= g.cfg.attempts || !errors.Is(err, ErrUnavailable) && !errors.Is(err, errAgain) {
			return err
		}
		if !pause(ctx, try) {
			return fmt.Errorf("%w, and then: %w", err, ctx.Err())
		}
		g.metrics.retries.WithLabelValues(operation).Inc()
	}
}

// pause waits before the next try, and tells whether there is time for one.
func pause(ctx context.Context, try int) bool {
	longest := min(firstPause<<(try-1), maxPause)
	select {
	case <-time.After(longest/2 + rand.N(longest/2)): //nolint:gosec // not a secret
		return true
	case <-ctx.Done():
		return false
	}
}

func (g *guard) once(ctx context.Context, operation string, request func(context.Context) error) error {
	try, cancel := context.WithTimeout(ctx, g.cfg.timeout)
	defer cancel()
	start := time.Now()
	err := classify(ctx, request(try))
	g.metrics.requests.WithLabelValues(operation, result(err)).Inc()
	telemetry.Since(ctx, g.metrics.seconds.WithLabelValues(operation), start)
	return err
}

// errAgain marks an answer of a living service that asks for another try.
var errAgain = errors.New("the service asks to try again")

// full are the codes of services without room: MinIO's disk and quota, Ceph's quota.
var full = map[string]bool{"XMinioStorageFull": true, "XMinioAdminBucketQuotaExceeded": true, "QuotaExceeded": true, "InsufficientStorage": true}

// again are the codes of a service that asks for patience or lost a request on the way.
var again = map[string]bool{
	"SlowDown": true, "SlowDownRead": true, "SlowDownWrite": true, "RequestTimeout": true, "Throttling": true,
	"ThrottlingException": true, "RequestLimitExceeded": true, "TooManyRequests": true, "OperationAborted": true, "ExpiredToken": true,
	"XAmzContentSHA256Mismatch": true, "IncompleteBody": true, "BadDigest": true,
}

// classify tells what the failure of a request means; ctx is the caller's.
func classify(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errLeft, ctx.Err())
	}
	answer, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok || answer.StatusCode == 0 {
		if permanent(err) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	switch {
	case full[answer.Code] || answer.StatusCode == http.StatusInsufficientStorage:
		return fmt.Errorf("%w: %w", object.ErrFull, err)
	case answer.Code == minio.NoSuchKey || answer.Code == minio.NoSuchUpload:
		return fmt.Errorf("%w: %w", object.ErrNotFound, err)
	case again[answer.Code] || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusRequestTimeout:
		return fmt.Errorf("%w: %w", errAgain, err)
	case answer.StatusCode >= 500 && answer.StatusCode != http.StatusNotImplemented:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// permanent tells whether an error that is no answer comes again with each try.
func permanent(err error) bool {
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return untrusted || errors.Is(err, errNoCredentials) || errors.Is(err, errRange) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// advice says what to mend where the service has refused.
func advice(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "; --storage-s3-ca names authorities to trust"
	}
	answer, _ := errors.AsType[minio.ErrorResponse](err)
	switch answer.Code {
	case "InvalidAccessKeyId", "SignatureDoesNotMatch":
		return "; are the access key and its secret right?"
	case minio.AccessDenied:
		return "; the credentials must be right, and allow s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucketMultipartUploads"
	case "AuthorizationHeaderMalformed", minio.InvalidRegion, "PermanentRedirect":
		return "; is --storage-s3-region right?"
	}
	return ""
}
