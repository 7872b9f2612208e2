package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// errRange says that the service has given another range than was asked for, as one would that knows no ranges.
var errRange = errors.New("service does not give the range that was asked for")

// reader reads an object from off to end, through as many connections as it takes.
type reader struct {
	store *Store
	ctx   context.Context
	key   string
	// off is where the next octet lies, end is after the last one, or -1 for the object's.
	off, end int64
	tries    int

	body   io.ReadCloser
	cancel context.CancelFunc
	// stall ends a connection that gives nothing for a while.
	stall *time.Timer
}

// open asks for what is left.
func (r *reader) open() error {
	return r.store.reads.do(r.ctx, "get", func(context.Context) error {
		ctx, cancel := context.WithCancel(r.ctx) // outlives this request: the body is read in it
		r.stall = time.AfterFunc(r.store.cfg.timeout, cancel)
		body, err := r.get(ctx)
		if err != nil {
			r.stall.Stop()
			cancel()
			return err
		}
		r.body, r.cancel = body, cancel
		return nil
	})
}

func (r *reader) get(ctx context.Context) (io.ReadCloser, error) {
	options := minio.GetObjectOptions{ServerSideEncryption: r.store.readOnly()}
	whole := r.off == 0 && r.end < 0
	want := fmt.Sprintf("bytes=%d-", r.off)
	if r.end >= 0 {
		want = fmt.Sprintf("bytes=%d-%d", r.off, r.end-1)
	}
	if !whole {
		options.Set("Range", want)
	}
	body, _, header, err := r.store.core.GetObject(ctx, r.store.cfg.bucket, r.store.prefix+r.key, options)
	if answer := minio.ToErrorResponse(err); answer.Code == minio.InvalidRange || answer.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return http.NoBody, nil // begins at the object's end or past it
	}
	if err != nil {
		return nil, err
	}
	if got := header.Get("Content-Range"); !whole && !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", r.off)) {
		return nil, errors.Join(fmt.Errorf("%w: %q instead of %q", errRange, got, want), body.Close())
	}
	return body, nil
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, err := r.body.Read(p)
		r.off += int64(n)
		if n > 0 {
			r.stall.Reset(r.store.cfg.timeout)
			r.tries = 0
			if !errors.Is(err, io.EOF) {
				err = nil // comes again with the next Read
			}
			return n, err
		}
		if err == nil || errors.Is(err, io.EOF) {
			return 0, err
		}
		if err := r.resume(err); err != nil {
			return 0, err
		}
	}
}

// resume goes on where a connection broke.
func (r *reader) resume(broken error) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if r.tries++; r.tries >= r.store.cfg.attempts {
		return fmt.Errorf("%w: read object %s: %w", ErrUnavailable, r.key, broken)
	}
	if err := r.Close(); err != nil && !errors.Is(err, broken) {
		r.store.log.Debug("closing a broken connection", "error", err)
	}
	r.store.metrics.retries.WithLabelValues("get").Inc()
	if err := r.open(); err != nil {
		r.body = http.NoBody
		return fmt.Errorf("read object %s: %w", r.key, err)
	}
	return nil
}

// Close implements io.Closer.
func (r *reader) Close() error {
	r.stall.Stop()
	err := r.body.Close()
	r.cancel()
	return err
}
