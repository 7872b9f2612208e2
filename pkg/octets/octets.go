// Package octets reads stored messages for the gateways. A reader whose replica of storage is lost goes on where it was, at another.
package octets

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/yubin-mail/yubin/pkg/rpc"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// Storage is the part of storage that is read from.
type Storage interface {
	Read(ctx context.Context, in *storagev1.ReadRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[storagev1.ReadResponse], error)
}

// Reader reads octets of one message in order. It is for one goroutine, and must be closed.
type Reader struct {
	storage Storage
	rest    *storagev1.ReadRequest // what has not been read
	bounded bool                   // rest has a length
	timeout time.Duration

	parent context.Context
	cancel context.CancelFunc
	stream grpc.ServerStreamingClient[storagev1.ReadResponse] // nil: to be opened
	chunk  []byte                                             // received, and not given out
}

// NewReader makes a reader of what the request asks for. Nothing is asked before the first use. timeout is how long storage may be silent
// while it is read from.
func NewReader(ctx context.Context, storage Storage, request *storagev1.ReadRequest, timeout time.Duration) *Reader {
	return &Reader{
		storage: storage, timeout: timeout, parent: ctx, cancel: func() {}, bounded: request.GetLength() > 0,
		rest: proto.CloneOf(request),
	}
}

// Close gives up what was not read.
func (r *Reader) Close() { r.cancel() }

// Next gives the next octets, at least one; io.EOF at the end. They are the caller's until the next call.
func (r *Reader) Next() ([]byte, error) {
	if chunk := r.chunk; len(chunk) > 0 {
		r.chunk = nil
		return chunk, nil
	}
	for {
		begun := r.stream != nil
		chunk, err := r.receive()
		if begun && rpc.Lost(err) { // before that, gRPC itself has tried other replicas
			if r.bounded && r.rest.GetLength() == 0 {
				return nil, io.EOF
			}
			r.stream = nil
			continue
		}
		if err != nil || len(chunk) > 0 {
			return chunk, err
		}
	}
}

// Fill waits until there are octets: then the message can be read, and begins to come. io.EOF: there are none.
func (r *Reader) Fill() error {
	if len(r.chunk) > 0 {
		return nil
	}
	chunk, err := r.Next()
	r.chunk = chunk
	return err
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if err := r.Fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

// receive takes an answer from storage, on a new stream if there is none.
func (r *Reader) receive() ([]byte, error) {
	if r.stream == nil {
		r.cancel()
		ctx, cancel := context.WithCancel(r.parent)
		stream, err := r.storage.Read(ctx, r.rest)
		if err != nil {
			cancel()
			return nil, err
		}
		r.stream, r.cancel = stream, cancel
	}
	silent := time.AfterFunc(r.timeout, r.cancel)
	defer silent.Stop()
	answer, err := r.stream.Recv()
	n := uint64(len(answer.GetChunk()))
	r.rest.Offset += n
	r.rest.Length -= min(n, r.rest.GetLength())
	return answer.GetChunk(), err
}
