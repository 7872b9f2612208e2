// Package s3 keeps objects in a bucket of an S3 service.
//
// It asks of the service only what all of them have (Amazon S3, MinIO, Ceph RGW, Garage, Cloudflare R2, the XML API of Google Cloud Storage):
// Signature Version 4, PutObject, GetObject with a range, HeadObject, DeleteObject, ListObjectsV2 with start-after, and multipart uploads with
// parts of one size. The signature covers the SHA-256 of each content, which the service verifies, so that neither Content-MD5 nor
// trailing checksums are needed, which some lack. There is no request after a PUT to look whether it is there: who reads verifies.
package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/encrypt"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// Store is an object.Store in a bucket.
type Store struct {
	core    *minio.Core
	cfg     Config
	prefix  string // empty or ending in '/'
	sse     encrypt.ServerSide
	log     *slog.Logger
	metrics *metrics
	reads   *guard
	writes  *guard
	buffers sync.Pool // of *[]byte with a part's length
}

var _ object.Store = (*Store)(nil)

// New makes a store of a validated Config, without a request yet; reg may be nil.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Store, error) {
	core, err := cfg.client()
	if err != nil {
		return nil, err
	}
	sse, err := cfg.serverSide()
	if err != nil {
		return nil, fmt.Errorf("set up encryption: %w", err)
	}
	s := &Store{core: core, cfg: cfg, sse: sse, log: log, metrics: newMetrics(reg)}
	if s.prefix = strings.TrimSuffix(cfg.prefix, "/"); s.prefix != "" {
		s.prefix += "/"
	}
	// A service that reads but cannot write, for lack of a quorum, must not seem to be dead to readers.
	s.reads, s.writes = s.newGuard("read"), s.newGuard("write")
	s.buffers.New = func() any {
		b := make([]byte, cfg.partSize)
		return &b
	}
	return s, nil
}

// readOnly is the key for reading what is encrypted with a key of ours; the service knows the others.
func (s *Store) readOnly() encrypt.ServerSide {
	if s.sse != nil && s.sse.Type() == encrypt.SSEC {
		return s.sse
	}
	return nil
}

// GetRange implements object.Store. A connection that breaks is made anew where it broke, for an object never changes.
func (s *Store) GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := object.CheckKey(key); err != nil {
		return nil, fmt.Errorf("get object: %w", err)
	}
	if off < 0 {
		return nil, fmt.Errorf("get object %s: negative offset %d", key, off)
	}
	if n == 0 {
		if _, err := s.Stat(ctx, key); err != nil {
			return nil, err
		}
		return http.NoBody, nil
	}
	r := &reader{store: s, ctx: ctx, key: key, off: off, end: -1}
	if n > 0 && off+n > off {
		r.end = off + n
	}
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("get object %s: %w", key, err)
	}
	return r, nil
}

// Stat implements object.Store.
func (s *Store) Stat(ctx context.Context, key string) (object.Info, error) {
	if err := object.CheckKey(key); err != nil {
		return object.Info{}, fmt.Errorf("stat object: %w", err)
	}
	var info minio.ObjectInfo
	err := s.reads.do(ctx, "head", func(ctx context.Context) (err error) {
		info, err = s.core.StatObject(ctx, s.cfg.bucket, s.prefix+key, minio.StatObjectOptions{ServerSideEncryption: s.readOnly()})
		return err
	})
	if err != nil {
		return object.Info{}, fmt.Errorf("stat object %s: %w", key, err)
	}
	return object.Info{Key: key, Size: info.Size, Modified: info.LastModified}, nil
}

// Delete implements object.Store. In a bucket with versions it leaves a delete marker; a lifecycle rule of the bucket must remove old versions.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := object.CheckKey(key); err != nil {
		return fmt.Errorf("delete object: %w", err)
	}
	err := s.writes.do(ctx, "delete", func(ctx context.Context) error {
		return s.core.RemoveObject(ctx, s.cfg.bucket, s.prefix+key, minio.RemoveObjectOptions{})
	})
	if err != nil && !errors.Is(err, object.ErrNotFound) {
		return fmt.Errorf("delete object %s: %w", key, err)
	}
	return nil
}

// page is how many keys one request lists, the most that S3 gives.
const page = 1000

// List implements object.Store.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[object.Info, error] {
	return func(yield func(object.Info, error) bool) {
		for {
			infos, err := s.listPage(ctx, prefix, after)
			if err != nil {
				yield(object.Info{}, fmt.Errorf("list objects: %w", err))
				return
			}
			for _, info := range infos {
				if !yield(info, nil) {
					return
				}
			}
			if len(infos) < page {
				return
			}
			after = infos[len(infos)-1].Key
		}
	}
}

// listPage gives the next keys; fewer than a page are the last.
func (s *Store) listPage(ctx context.Context, prefix, after string) (infos []object.Info, err error) {
	options := minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true, MaxKeys: page}
	if after != "" {
		options.StartAfter = s.prefix + after
	}
	err = s.reads.do(ctx, "list", func(ctx context.Context) error {
		infos = infos[:0]
		for o := range s.core.ListObjectsIter(ctx, s.cfg.bucket, options) {
			if o.Err != nil {
				return o.Err
			}
			key := strings.TrimPrefix(o.Key, s.prefix)
			if object.CheckKey(key) != nil {
				continue // a folder that a console has made, or what somebody else keeps here
			}
			infos = append(infos, object.Info{Key: key, Size: o.Size, Modified: o.LastModified})
			if len(infos) == page {
				break
			}
		}
		return ctx.Err() // with which the iterator just ends
	})
	return infos, err
}

// Check looks whether the bucket is there and may be used, and makes it if it is missing and the settings say so. It goes on trying for a
// while if the service does not answer.
func (s *Store) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	for {
		err := s.check(ctx)
		if err == nil || !errors.Is(err, ErrUnavailable) {
			return err
		}
		s.log.Warn("the S3 service does not answer yet", "endpoint", s.cfg.endpoint, "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("use S3 bucket %s at %s: %w; is --storage-s3-endpoint right, and does the service run?", s.cfg.bucket, s.cfg.endpoint, err)
		case <-time.After(time.Second):
		}
	}
}

// checkTimeout is how long a start waits for the service; then the process ends, and whoever runs it tries again.
const checkTimeout = 15 * time.Second

func (s *Store) check(ctx context.Context) error {
	var exists bool
	err := s.reads.do(ctx, "head_bucket", func(ctx context.Context) (err error) {
		exists, err = s.core.BucketExists(ctx, s.cfg.bucket)
		return err
	})
	switch {
	case errors.Is(err, ErrUnavailable):
		return err
	case err != nil:
		return fmt.Errorf("use S3 bucket %s at %s: %w%s", s.cfg.bucket, s.cfg.endpoint, err, advice(err))
	case exists:
		return nil
	case !s.cfg.createBucket:
		return fmt.Errorf("S3 bucket %s at %s does not exist: make it, or set --storage-s3-create-bucket", s.cfg.bucket, s.cfg.endpoint)
	}
	err = s.writes.do(ctx, "create_bucket", func(ctx context.Context) error {
		err := s.core.MakeBucket(ctx, s.cfg.bucket, minio.MakeBucketOptions{Region: s.cfg.region})
		if minio.ToErrorResponse(err).Code == minio.BucketAlreadyOwnedByYou {
			return nil // another replica was faster
		}
		return err
	})
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("make S3 bucket %s at %s: %w%s", s.cfg.bucket, s.cfg.endpoint, err, advice(err))
	}
	return err
}
