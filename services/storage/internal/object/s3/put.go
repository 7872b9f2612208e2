package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// maxSingle is the largest content of known size that goes in one request, from memory: a pack of small bodies is not larger.
const maxSingle = 32 << 20

// abortTimeout bounds the tidying after an upload that failed; what it leaves Sweep removes.
const abortTimeout = 30 * time.Second

// Put implements object.Store: one request if the size is known and moderate, or if all fits into one part, else a multipart upload.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	if err := object.CheckKey(key); err != nil {
		return fmt.Errorf("put object: %w", err)
	}
	var err error
	in := &source{ctx: ctx, r: r, size: size}
	if size >= 0 && size <= maxSingle {
		err = s.putKnown(ctx, key, in)
	} else {
		err = s.putParts(ctx, key, in)
	}
	if err != nil {
		return fmt.Errorf("put object %s: %w", key, err)
	}
	return nil
}

// source reads what is put. It ends with object.ErrSize where the size is not what was announced, and when ctx ends.
type source struct {
	ctx  context.Context
	r    io.Reader
	size int64
	n    int64
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	s.n += int64(n)
	if s.size >= 0 && s.n > s.size {
		return 0, fmt.Errorf("%w: more than %d octets", object.ErrSize, s.size)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return n, fmt.Errorf("read content: %w", err)
	}
	if err != nil && s.size >= 0 && s.n < s.size {
		return n, fmt.Errorf("%w: %d of %d octets", object.ErrSize, s.n, s.size)
	}
	return n, err
}

// fill reads until buf is full; last tells that there is no more.
func (s *source) fill(buf []byte) (n int, last bool, err error) {
	n, err = io.ReadFull(s, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return n, true, nil
	}
	return n, false, err
}

func (s *Store) putKnown(ctx context.Context, key string, in *source) error {
	content := make([]byte, in.size+1) // one more shows that there is more
	n, _, err := in.fill(content)
	if err != nil {
		return err
	}
	return s.putWhole(ctx, key, content[:n])
}

// options of an upload.
func (s *Store) options() minio.PutObjectOptions {
	return minio.PutObjectOptions{
		ServerSideEncryption: s.sse, StorageClass: s.cfg.storageClass,
		// The sum of the whole is in the signature, not one for each chunk.
		DisableContentSha256: true,
	}
}

func sum(content []byte) string {
	digest := sha256.Sum256(content)
	return hex.EncodeToString(digest[:])
}

// putWhole puts content in one request. It may be done twice if an answer is lost; the object is the same.
func (s *Store) putWhole(ctx context.Context, key string, content []byte) error {
	digest := sum(content)
	return s.writes.do(ctx, "put", func(ctx context.Context) error {
		_, err := s.core.PutObject(ctx, s.cfg.bucket, s.prefix+key, bytes.NewReader(content), int64(len(content)), "", digest, s.options())
		return err
	})
}

// putParts puts content part by part, with one part in memory.
func (s *Store) putParts(ctx context.Context, key string, in *source) (err error) {
	buffer := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buffer)
	n, last, err := in.fill(*buffer)
	if err != nil {
		return err
	}
	if last {
		return s.putWhole(ctx, key, (*buffer)[:n])
	}

	var upload string
	err = s.writes.do(ctx, "create_multipart", func(ctx context.Context) (err error) {
		upload, err = s.core.NewMultipartUpload(ctx, s.cfg.bucket, s.prefix+key, s.options())
		return err
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.abort(ctx, s.prefix+key, upload)
		}
	}()
	var parts []minio.CompletePart
	for {
		part, err := s.putPart(ctx, key, upload, len(parts)+1, (*buffer)[:n])
		if err != nil {
			return err
		}
		parts = append(parts, part)
		if last {
			break
		}
		if n, last, err = in.fill(*buffer); err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	return s.complete(ctx, key, upload, parts)
}

func (s *Store) putPart(ctx context.Context, key, upload string, number int, content []byte) (minio.CompletePart, error) {
	digest := sum(content)
	part := minio.CompletePart{PartNumber: number}
	err := s.writes.do(ctx, "put_part", func(ctx context.Context) error {
		p, err := s.core.PutObjectPart(ctx, s.cfg.bucket, s.prefix+key, upload, number, bytes.NewReader(content), int64(len(content)),
			minio.PutObjectPartOptions{Sha256Hex: digest, SSE: s.sse, DisableContentSha256: true})
		part.ETag = p.ETag
		return err
	})
	return part, err
}

// complete makes the object of its parts. If an answer was lost, the upload is gone with the next try: then the object tells.
func (s *Store) complete(ctx context.Context, key, upload string, parts []minio.CompletePart) error {
	options := minio.PutObjectOptions{ServerSideEncryption: s.readOnly()}
	err := s.writes.do(ctx, "complete_multipart", func(ctx context.Context) error {
		_, err := s.core.CompleteMultipartUpload(ctx, s.cfg.bucket, s.prefix+key, upload, parts, options)
		return err
	})
	if errors.Is(err, object.ErrNotFound) {
		if _, stat := s.Stat(ctx, key); stat == nil {
			return nil
		}
	}
	return err
}

// abort gives back the room of an upload that failed.
func (s *Store) abort(ctx context.Context, name, upload string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	err := s.writes.do(ctx, "abort_multipart", func(ctx context.Context) error {
		return s.core.AbortMultipartUpload(ctx, s.cfg.bucket, name, upload)
	})
	if err != nil && !errors.Is(err, object.ErrNotFound) {
		s.log.Warn("a failed upload could not be removed yet", "error", err)
	}
}
