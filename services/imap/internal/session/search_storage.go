package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// searchStorage has storage search, and tells the client meanwhile how far it is (RFC 9585).
func (s *session) searchStorage(ctx context.Context, r *storagev1.SearchRequest) (answer *storagev1.SearchResponse, err error) {
	ctx, cancel := s.bulk(ctx)
	defer cancel()
	var progress atomic.Pointer[storagev1.SearchStreamResponse_Progress]
	state := func() string {
		p := progress.Load()
		return counted(p.GetDone(), p.GetTotal())
	}
	err = s.workingAt(state, func() (err error) {
		answer, err = s.searchOnce(ctx, r, &progress)
		if rpc.Lost(err) { // before it has begun to answer, gRPC itself has tried other replicas
			answer, err = s.searchOnce(ctx, r, &progress)
		}
		return err
	})
	return answer, err
}

// searchOnce searches, without news of its progress if storage is of an earlier version, as in the middle of an upgrade.
func (s *session) searchOnce(
	ctx context.Context, r *storagev1.SearchRequest, progress *atomic.Pointer[storagev1.SearchStreamResponse_Progress],
) (*storagev1.SearchResponse, error) {
	answer, err := s.searchStream(ctx, r, progress)
	if fault.Code(err) == codes.Unimplemented {
		return s.Storage.Search(ctx, r)
	}
	return answer, err
}

func (s *session) searchStream(
	ctx context.Context, r *storagev1.SearchRequest, progress *atomic.Pointer[storagev1.SearchStreamResponse_Progress],
) (*storagev1.SearchResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.Storage.SearchStream(ctx, &storagev1.SearchStreamRequest{Search: r})
	if err != nil {
		return nil, err
	}
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("search: %w", io.ErrUnexpectedEOF)
		}
		if err != nil {
			return nil, err
		}
		if answer.GetResult() != nil {
			return answer.GetResult(), nil
		}
		progress.Store(answer.GetProgress())
	}
}
