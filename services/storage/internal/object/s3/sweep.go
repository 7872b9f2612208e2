package s3

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

const (
	// staleAfter that time an upload is of a process that has died: one message takes minutes.
	staleAfter = 24 * time.Hour
	sweepEvery = 6 * time.Hour
)

// Run removes now and then the uploads that nobody will finish, until ctx ends. Several replicas may do so.
func (s *Store) Run(ctx context.Context) error {
	for wait := rand.N(time.Minute); ; wait = sweepEvery/2 + rand.N(sweepEvery) { //nolint:gosec // not a secret
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		n, err := s.Sweep(ctx, time.Now().Add(-staleAfter))
		if err != nil && ctx.Err() == nil {
			s.log.Warn("unfinished uploads could not be removed", "error", err)
		}
		if n > 0 {
			s.log.Info("removed unfinished uploads", "uploads", n)
		}
	}
}

// Sweep aborts the multipart uploads below the prefix that began before a time, and tells how many. MinIO lists none and removes its own
// after a day.
func (s *Store) Sweep(ctx context.Context, before time.Time) (aborted int, err error) {
	var failed []error
	for after, afterID := "", ""; ; {
		var page minio.ListMultipartUploadsResult
		err := s.reads.do(ctx, "list_multiparts", func(ctx context.Context) (err error) {
			page, err = s.core.ListMultipartUploads(ctx, s.cfg.bucket, s.prefix, after, afterID, "", 1000)
			return err
		})
		if err != nil {
			return aborted, errors.Join(append(failed, fmt.Errorf("list multipart uploads: %w", err))...)
		}
		for _, u := range page.Uploads {
			if !u.Initiated.Before(before) {
				continue
			}
			err := s.writes.do(ctx, "abort_multipart", func(ctx context.Context) error {
				return s.core.AbortMultipartUpload(ctx, s.cfg.bucket, u.Key, u.UploadID)
			})
			if err != nil && !errors.Is(err, object.ErrNotFound) {
				failed = append(failed, fmt.Errorf("abort multipart upload: %w", err))
				continue
			}
			aborted++
			s.metrics.stale.Inc()
		}
		after, afterID = page.NextKeyMarker, page.NextUploadIDMarker
		if !page.IsTruncated || after == "" {
			return aborted, errors.Join(failed...)
		}
	}
}
