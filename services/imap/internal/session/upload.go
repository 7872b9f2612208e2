package session

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/replay"
	"github.com/yubin-mail/yubin/pkg/rpc"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

const (
	// uploadAttempts bounds how often a message is sent whose replica of storage was lost, and uploadPause is between two of them.
	uploadAttempts = 3
	uploadPause    = 100 * time.Millisecond
)

// uploaded streams a message to storage by once, again if the replica was lost, as long as the octets of source are kept and again agrees.
func uploaded[A any](ctx context.Context, source *replay.Source, again func() bool, once func() (A, error)) (answer A, err error) {
	for attempt := 1; ; attempt++ {
		answer, err = once()
		if attempt == uploadAttempts || !again() || !rpc.Lost(err) {
			return answer, err
		}
		if kept, broken := source.ReadAll(); broken != nil || !kept {
			return answer, cmp.Or(broken, err)
		}
		select {
		case <-time.After(uploadPause):
		case <-ctx.Done():
			return answer, err
		}
	}
}

// sender gives a function that sends into a stream with one answer, where the reason is if the stream has ended.
func sender[Q, A any](stream grpc.ClientStreamingClient[Q, A]) func(*Q) error {
	return func(request *Q) error {
		err := stream.Send(request)
		if errors.Is(err, io.EOF) {
			if _, err := stream.CloseAndRecv(); err != nil {
				return err
			}
			return fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, unavailableText)
		}
		return err
	}
}

// answerOf waits for the answer to all that was sent, and cancels the stream if that takes longer than the timeout.
func answerOf[Q, A any](stream grpc.ClientStreamingClient[Q, A], timeout time.Duration, cancel context.CancelFunc) (*A, error) {
	timer := time.AfterFunc(timeout, cancel)
	defer timer.Stop()
	return stream.CloseAndRecv()
}
