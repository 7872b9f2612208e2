package post

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/replay"
	"github.com/yubin-mail/yubin/pkg/rpc"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// storage stores what is committed, and then does what the next of after says: the answer may get lost.
type storage struct {
	storagev1.UnimplementedStorageServiceServer
	before, after []error
	hang          bool
	attempts      int
	ids           []string
	stored        []string
	ended         chan error // how an attempt without a commit ended
}

func next(errs *[]error) error {
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

func (s *storage) Deliver(stream storagev1.StorageService_DeliverServer) error {
	s.attempts++
	if err := next(&s.before); err != nil {
		return err
	}
	var body []byte
	for {
		req, err := stream.Recv()
		if err != nil {
			s.ended <- err
			return err
		}
		switch m := req.GetMessage().(type) {
		case *storagev1.DeliverRequest_Header_:
			s.ids = append(s.ids, m.Header.GetDeliveryId())
		case *storagev1.DeliverRequest_Chunk:
			body = append(body, m.Chunk...)
		case *storagev1.DeliverRequest_Commit:
			if m.Commit.GetSize() != uint64(len(body)) {
				return fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "wrong size")
			}
			if s.hang {
				<-stream.Context().Done()
				return stream.Context().Err()
			}
			s.stored = append(s.stored, string(body))
			if err := next(&s.after); err != nil {
				return err
			}
			return stream.SendAndClose(&storagev1.DeliverResponse{Results: []*storagev1.DeliverResponse_Result{{AccountId: "a"}}})
		}
	}
}

var (
	errDown = fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "down")
	errFull = fault.New(codes.ResourceExhausted, rpcv1.Reason_REASON_OVER_QUOTA, "full")
)

// run delivers body in a bubble of synthetic time.
func run(t *testing.T, s *storage, body io.Reader, check func(t *testing.T, res *storagev1.DeliverResponse, size int64, took time.Duration, err error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s.ended = make(chan error, attempts)
		in := rpc.NewInproc(slog.New(slog.DiscardHandler), nil)
		storagev1.RegisterStorageServiceServer(in, s)
		begin := time.Now()
		res, size, err := New(storagev1.NewStorageServiceClient(in.Client("smtp"))).
			Deliver(t.Context(), &storagev1.DeliverRequest_Header{DeliveryId: "one"}, body)
		took := time.Since(begin)
		synctest.Wait() // for what storage does with a stream that was given up
		check(t, res, size, took, err)
	})
}

func TestALostAnswerIsAskedForAgain(t *testing.T) {
	for name, s := range map[string]*storage{
		"lost":        {after: []error{errDown, errDown}},
		"not reached": {before: []error{errDown, errDown, errDown, errDown}},
	} {
		t.Run(name, func(t *testing.T) {
			want := strings.Repeat("0123456789abcdef", replay.Keep/16)
			run(t, s, iotest.OneByteReader(strings.NewReader(want)), func(t *testing.T, res *storagev1.DeliverResponse, size int64, _ time.Duration, err error) {
				require.NoError(t, err)
				require.Len(t, res.GetResults(), 1)
				require.EqualValues(t, len(want), size)
				for _, id := range s.ids {
					require.Equal(t, "one", id)
				}
				for _, got := range s.stored {
					require.Equal(t, want, got)
				}
			})
		})
	}
}

func TestAnAnswerIsAskedForOnlySoOften(t *testing.T) {
	s := &storage{before: []error{errDown, errDown, errDown, errDown, errDown, errDown}}
	run(t, s, bytes.NewReader([]byte("x")), func(t *testing.T, _ *storagev1.DeliverResponse, _ int64, took time.Duration, err error) {
		require.True(t, fault.Is(err, rpcv1.Reason_REASON_UNAVAILABLE), err)
		require.Equal(t, attempts, s.attempts)
		require.Equal(t, 15*pause, took)
	})
}

func TestALargeMessageIsSentOnce(t *testing.T) {
	s := &storage{after: []error{errDown}}
	body := bytes.NewReader(make([]byte, replay.Keep+1))
	run(t, s, body, func(t *testing.T, _ *storagev1.DeliverResponse, size int64, _ time.Duration, err error) {
		require.True(t, fault.Is(err, rpcv1.Reason_REASON_UNAVAILABLE), err)
		require.Equal(t, 1, s.attempts)
		require.EqualValues(t, replay.Keep+1, size)
	})
}

func TestARefusalIsFinal(t *testing.T) {
	s := &storage{after: []error{errFull}}
	run(t, s, bytes.NewReader([]byte("x")), func(t *testing.T, _ *storagev1.DeliverResponse, _ int64, _ time.Duration, err error) {
		require.True(t, fault.Is(err, rpcv1.Reason_REASON_OVER_QUOTA), err)
		require.Equal(t, 1, s.attempts)
	})
}

func TestAMessageThatBreaksOffIsNotStored(t *testing.T) {
	broken := errors.New("broken off")
	for name, s := range map[string]*storage{
		"while it is sent":        {},
		"while it is read to end": {before: []error{errDown}},
	} {
		t.Run(name, func(t *testing.T) {
			body := io.MultiReader(bytes.NewReader(make([]byte, 3*replay.ChunkSize)), iotest.ErrReader(broken))
			run(t, s, body, func(t *testing.T, _ *storagev1.DeliverResponse, _ int64, _ time.Duration, err error) {
				require.ErrorIs(t, err, broken)
				require.Equal(t, 1, s.attempts)
				require.Empty(t, s.stored)
				if len(s.ids) > 0 {
					require.Equal(t, codes.Canceled, fault.Code(<-s.ended), "storage must not take it for the end")
				}
			})
		})
	}
}

func TestStorageThatHangsIsLeft(t *testing.T) {
	s := &storage{hang: true}
	run(t, s, bytes.NewReader([]byte("x")), func(t *testing.T, _ *storagev1.DeliverResponse, _ int64, took time.Duration, err error) {
		require.Equal(t, codes.Canceled, fault.Code(err), err)
		require.Equal(t, commitTimeout, took)
		require.Equal(t, 1, s.attempts)
	})
}

func TestTheCallerCanGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &storage{before: []error{errDown, errDown, errDown, errDown}}
		in := rpc.NewInproc(slog.New(slog.DiscardHandler), nil)
		storagev1.RegisterStorageServiceServer(in, s)
		ctx, cancel := context.WithTimeout(t.Context(), pause+time.Millisecond)
		defer cancel()
		_, _, err := New(storagev1.NewStorageServiceClient(in.Client("smtp"))).
			Deliver(ctx, &storagev1.DeliverRequest_Header{}, bytes.NewReader([]byte("x")))
		require.True(t, fault.Is(err, rpcv1.Reason_REASON_UNAVAILABLE), err)
		require.Equal(t, 2, s.attempts)
	})
}
