package octets

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

const message = "0123456789abcdefghijklmnopqrstuvwxyz"

var (
	errLost    = status.Error(codes.Unavailable, "connection reset by peer")
	errCorrupt = fault.New(codes.DataLoss, rpcv1.Reason_REASON_CORRUPT, "damaged")
)

// storage answers in chunks of 3, and fails each stream after so many.
type storage struct {
	storagev1.UnimplementedStorageServiceServer
	chunks  int
	err     error
	hang    bool
	streams int
	actors  []string
}

func (s *storage) Read(r *storagev1.ReadRequest, stream grpc.ServerStreamingServer[storagev1.ReadResponse]) error {
	s.streams++
	s.actors = append(s.actors, r.GetActor().GetAccountId())
	rest := message[min(r.GetOffset(), uint64(len(message))):]
	if n := r.GetLength(); n > 0 {
		rest = rest[:min(n, uint64(len(rest)))]
	}
	for sent := 0; len(rest) > 0; sent++ {
		if s.err != nil && sent == s.chunks {
			return s.err
		}
		if err := stream.Send(&storagev1.ReadResponse{Chunk: []byte(rest[:min(3, len(rest))])}); err != nil {
			return err
		}
		if err := stream.Send(&storagev1.ReadResponse{}); err != nil { // says nothing
			return err
		}
		rest = rest[min(3, len(rest)):]
	}
	if s.hang {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	return nil
}

func reader(t *testing.T, s *storage, request *storagev1.ReadRequest) *Reader {
	t.Helper()
	in := rpc.NewInproc(slog.New(slog.DiscardHandler), nil)
	storagev1.RegisterStorageServiceServer(in, s)
	r := NewReader(t.Context(), storagev1.NewStorageServiceClient(in.Client("imap")), request, time.Second)
	t.Cleanup(r.Close)
	return r
}

func TestReadGoesOnWhereItWas(t *testing.T) {
	for _, tc := range []struct {
		offset, length uint64
		want           string
	}{
		{0, 0, message}, {5, 0, message[5:]}, {5, 9, message[5:14]}, {5, 10, message[5:15]}, {100, 0, ""}, {30, 100, message[30:]},
	} {
		for chunks := 1; chunks < 14; chunks++ {
			s := &storage{chunks: chunks, err: errLost}
			got, err := io.ReadAll(iotest.OneByteReader(reader(t, s, &storagev1.ReadRequest{Offset: tc.offset, Length: tc.length})))
			if err != nil || string(got) != tc.want {
				t.Errorf("%d octets from %d, cut after %d chunks: got %q, %v", tc.length, tc.offset, chunks, got, err)
			}
		}
	}
}

func TestEachStreamIsAskedForOnBehalfOfTheSame(t *testing.T) {
	s := &storage{chunks: 9, err: errLost}
	_, err := io.ReadAll(reader(t, s, &storagev1.ReadRequest{Actor: &storagev1.Actor{AccountId: "guest"}}))
	if got := strings.Join(s.actors, " "); err != nil || got != "guest guest" {
		t.Errorf("asked on behalf of %q, %v", got, err)
	}
}

func TestStreamThatBringsNothingIsTheLast(t *testing.T) {
	s := &storage{err: errLost}
	if err := reader(t, s, &storagev1.ReadRequest{}).Fill(); !rpc.Lost(err) || s.streams != 1 {
		t.Errorf("%d streams, then %v", s.streams, err)
	}
}

func TestFailureOfTheMessageIsFinal(t *testing.T) {
	s := &storage{chunks: 2, err: errCorrupt}
	got, err := io.ReadAll(reader(t, s, &storagev1.ReadRequest{}))
	if !fault.Is(err, rpcv1.Reason_REASON_CORRUPT) || string(got) != message[:6] || s.streams != 1 {
		t.Errorf("got %q, %v by %d streams", got, err, s.streams)
	}
}

func TestSilentStorageIsLeft(t *testing.T) {
	if _, err := io.ReadAll(reader(t, &storage{hang: true}, &storagev1.ReadRequest{})); fault.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
}
