package quotatest

import (
	"context"

	"google.golang.org/grpc"

	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
)

// Client calls the ledger without a transport. It has the methods that storage calls.
func (l *Ledger) Client() quotav1.QuotaServiceClient { return &client{ledger: l} }

type client struct {
	quotav1.QuotaServiceClient
	ledger *Ledger
}

func (c *client) Reserve(ctx context.Context, r *quotav1.ReserveRequest, _ ...grpc.CallOption) (*quotav1.ReserveResponse, error) {
	return c.ledger.Reserve(ctx, r)
}

func (c *client) Release(ctx context.Context, r *quotav1.ReleaseRequest, _ ...grpc.CallOption) (*quotav1.ReleaseResponse, error) {
	return c.ledger.Release(ctx, r)
}

func (c *client) Settle(ctx context.Context, r *quotav1.SettleRequest, _ ...grpc.CallOption) (*quotav1.SettleResponse, error) {
	return c.ledger.Settle(ctx, r)
}
