package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
)

// ErrNoReplica is told by Reach.
var ErrNoReplica = errors.New("no replica can be reached, or none is ready")

// Reach tells, until ctx ends, whenever it becomes known that a service can be reached, with nil, or that it cannot, with ErrNoReplica. It keeps the
// connection up.
func Reach(ctx context.Context, conn *grpc.ClientConn, tell func(error)) {
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Idle:
			conn.Connect()
		case connectivity.Ready:
			tell(nil)
		case connectivity.TransientFailure:
			tell(ErrNoReplica)
		}
		if !conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}
