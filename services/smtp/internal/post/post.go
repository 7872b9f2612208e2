// Package post hands messages to storage: streamed, once, and again after a lost answer as long as the message is small enough to
// be kept.
package post

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/yubin-mail/yubin/pkg/replay"
	"github.com/yubin-mail/yubin/pkg/rpc"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

const (
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

// Deliver streams the body to storage and waits until it is stored. It tells the octets of the body. An attempt that failed for a
// passing reason is repeated with the same delivery id, so that a lost answer does not deliver twice. A failure of body ends the
// delivery, and is in the chain of the error; storage then stores nothing.
func (p *Poster) Deliver(ctx context.Context, header *storagev1.DeliverRequest_Header, body io.Reader) (*storagev1.DeliverResponse, int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := time.AfterFunc(timeout, cancel)
	defer limit.Stop()
	source := replay.New(body, func() { limit.Reset(commitTimeout) })
	wait := pause
	for attempt := 1; ; attempt++ {
		res, err := p.attempt(ctx, header, source)
		if err == nil {
			return res, source.Size(), nil
		}
		if attempt == attempts || !rpc.Transient(err) { // nor is a failure of the source transient
			return nil, source.Size(), err
		}
		if kept, broken := source.ReadAll(); broken != nil {
			return nil, source.Size(), broken
		} else if !kept {
			return nil, source.Size(), err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, source.Size(), err
		}
		wait *= 2
	}
}

func (p *Poster) attempt(ctx context.Context, header *storagev1.DeliverRequest_Header, source *replay.Source) (*storagev1.DeliverResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of a stream that is given up
	stream, err := p.storage.Deliver(ctx)
	if err != nil {
		return nil, fmt.Errorf("open delivery: %w", err)
	}
	err = stream.Send(&storagev1.DeliverRequest{Message: &storagev1.DeliverRequest_Header_{Header: header}})
	if err == nil {
		err = source.Send(func(chunk []byte) error {
			return stream.Send(&storagev1.DeliverRequest{Message: &storagev1.DeliverRequest_Chunk{Chunk: chunk}})
		})
	}
	if _, broken := errors.AsType[*replay.Error](err); broken {
		return nil, err
	}
	if err == nil {
		err = stream.Send(&storagev1.DeliverRequest{Message: &storagev1.DeliverRequest_Commit{Commit: &storagev1.Commit{Size: uint64(source.Size())}}})
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
