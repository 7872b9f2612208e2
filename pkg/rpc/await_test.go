package rpc

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// connected is a connection that is ready.
func connected(t *testing.T) *grpc.ClientConn {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	cc, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

var errNobody = status.Error(codes.Unavailable, "last connection error: connection active but health check failed. status=NOT_SERVING")

// The last replica may leave between the wait and the call.
func TestCallThatFoundNobodyIsMadeAgain(t *testing.T) {
	cc, w := connected(t), waiter{time.Minute}
	calls := 0
	err := w.unary(t.Context(), "/a/b", nil, nil, cc, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		if calls++; calls < 4 {
			return errNobody
		}
		return nil
	})
	if err != nil || calls != 4 {
		t.Errorf("unary: %d calls, %v", calls, err)
	}
	calls = 0
	_, err = w.stream(t.Context(), &grpc.StreamDesc{}, cc, "/a/b", func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
		if calls++; calls < 4 {
			return nil, errNobody
		}
		return nil, nil
	})
	if err != nil || calls != 4 {
		t.Errorf("stream: %d calls, %v", calls, err)
	}
}

func TestCallThatWasSentIsNotMadeAgain(t *testing.T) {
	cc, w := connected(t), waiter{time.Minute}
	calls := 0
	err := w.unary(t.Context(), "/a/b", nil, nil, cc, func(_ context.Context, _ string, _, _ any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
		calls++
		for _, o := range opts {
			if to, ok := o.(grpc.PeerCallOption); ok {
				*to.PeerAddr = peer.Peer{Addr: &net.TCPAddr{}}
			}
		}
		return errNobody
	})
	if status.Code(err) != codes.Unavailable || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestCallThatFindsNobodyEnds(t *testing.T) {
	cc, w := connected(t), waiter{time.Millisecond}
	err := w.unary(t.Context(), "/a/b", nil, nil, cc, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return errNobody })
	if status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
}
