// Package post hands messages to storage: streamed, once, and again after a lost answer as long as the message is small enough to
// be kept.
package post

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/yubin-mail/yubin/pkg/rpc"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

const (
	chunkSize = 64 << 10
	// keep is how much of a message stays in memory, in octets, so that it can be sent again.
	keep = 1 << 20
	// attempts at most, and the pause before the second, doubled for each further one.
	attempts = 5
	pause    = 200 * time.Millisecond
	// timeout of a delivery, from its first octet, over all attempts.
	timeout = 20 * time.Minute
	// commitTimeout is how long storage may take after the last octet, over all attempts. A client waits twice as long (RFC 5321
	// section 4.5.3.2.6): one that gave up would send again what is stored then.
	commitTimeout = 5 * time.Minute
)

// Poster hands messages to storage.
type Poster struct {
	storage storagev1.StorageServiceClient
}

// New makes a poster.
func New(storage storagev1.StorageServiceClient) *Poster { return &Poster{storage: storage} }

// sourceError is a failure of the source of a message: storage has nothing of it.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read message: " + e.err.Error() }

func (e *sourceError) Unwrap() error { return e.err }

// Deliver streams the body to storage and waits until it is stored. It tells the octets of the body. An attempt that failed for a
// passing reason is repeated with the same delivery id, so that a lost answer does not deliver twice. A failure of body ends the
// delivery, and is in the chain of the error; storage then stores nothing.
func (p *Poster) Deliver(ctx context.Context, header *storagev1.DeliverRequest_Header, body io.Reader) (*storagev1.DeliverResponse, int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := time.AfterFunc(timeout, cancel)
	defer limit.Stop()
	source := &source{r: body, whole: func() { limit.Reset(commitTimeout) }}
	wait := pause
	for attempt := 1; ; attempt++ {
		res, err := p.attempt(ctx, header, source)
		if err == nil {
			return res, source.size, nil
		}
		if attempt == attempts || !rpc.Transient(err) { // nor is a failure of the source transient
			return nil, source.size, err
		}
		if kept, broken := source.readAll(); broken != nil {
			return nil, source.size, broken
		} else if !kept {
			return nil, source.size, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, source.size, err
		}
		wait *= 2
	}
}

func (p *Poster) attempt(ctx context.Context, header *storagev1.DeliverRequest_Header, source *source) (*storagev1.DeliverResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of a stream that is given up
	stream, err := p.storage.Deliver(ctx)
	if err != nil {
		return nil, fmt.Errorf("open delivery: %w", err)
	}
	err = stream.Send(&storagev1.DeliverRequest{Message: &storagev1.DeliverRequest_Header_{Header: header}})
	if err == nil {
		err = source.send(func(chunk []byte) error {
			return stream.Send(&storagev1.DeliverRequest{Message: &storagev1.DeliverRequest_Chunk{Chunk: chunk}})
		})
	}
	if _, broken := errors.AsType[*sourceError](err); broken {
		return nil, err
	}
	if err == nil {
		err = stream.Send(&storagev1.DeliverRequest{Message: &storagev1.DeliverRequest_Commit{Commit: &storagev1.Commit{Size: uint64(source.size)}}})
	}
	if err != nil && !errors.Is(err, io.EOF) { // after EOF the answer tells why
		return nil, fmt.Errorf("send message: %w", err)
	}
	res, err := stream.CloseAndRecv()
	if err != nil {
		return nil, fmt.Errorf("store message: %w", err)
	}
	return res, nil
}

// source reads a message once and remembers it as long as it is small.
type source struct {
	r     io.Reader
	whole func() // called when r has ended
	kept  []byte
	size  int64
	ended bool
}

// send passes on what is kept and then the rest.
func (s *source) send(chunk func([]byte) error) error {
	for rest := s.kept; len(rest) > 0; {
		n := min(len(rest), chunkSize)
		if err := chunk(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	for !s.ended {
		piece, err := s.next()
		if err != nil {
			return err
		}
		if len(piece) == 0 {
			continue
		}
		if err := chunk(piece); err != nil {
			return err
		}
	}
	return nil
}

// next reads a piece. Each has memory of its own: the transport may hold on to it.
func (s *source) next() ([]byte, error) {
	piece := make([]byte, chunkSize)
	n := 0
	for n < len(piece) && !s.ended {
		m, err := s.r.Read(piece[n:])
		n += m
		switch {
		case errors.Is(err, io.EOF): // exactly EOF is the end; a connection that breaks says ErrUnexpectedEOF
			s.ended = true
			s.whole()
		case err != nil:
			return nil, &sourceError{err}
		}
	}
	s.size += int64(n)
	if s.size <= keep {
		s.kept = append(s.kept, piece[:n]...)
	} else {
		s.kept = nil
	}
	return piece[:n], nil
}

// readAll reads what is left of the message, and tells whether all of it is kept. It stops reading when it is not.
func (s *source) readAll() (kept bool, err error) {
	for !s.ended && s.size <= keep {
		if _, err := s.next(); err != nil {
			return false, err
		}
	}
	return s.size <= keep, nil
}
