package api

import (
	"time"

	"google.golang.org/grpc"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// SearchStream implements storagev1.StorageServiceServer.
func (s *Service) SearchStream(request *storagev1.SearchStreamRequest, stream grpc.ServerStreamingServer[storagev1.SearchStreamResponse]) error {
	r := request.GetSearch()
	w, err := s.newSearching(r)
	if err != nil {
		return err
	}
	type outcome struct {
		response *storagev1.SearchResponse
		err      error
	}
	ended := make(chan outcome, 1)
	go func() {
		response, err := w.run(stream.Context())
		ended <- outcome{response, err}
	}()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case o := <-ended:
			if o.err != nil {
				return o.err
			}
			return stream.Send(&storagev1.SearchStreamResponse{Progress: w.progress(), Result: o.response})
		case <-tick.C:
			if err := stream.Send(&storagev1.SearchStreamResponse{Progress: w.progress()}); err != nil {
				<-ended // its context has ended too
				return err
			}
		}
	}
}
