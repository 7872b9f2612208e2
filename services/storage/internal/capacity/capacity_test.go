package capacity

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/yubin-mail/yubin/pkg/fault"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/quotatest"
)

// lossy loses the answers of the calls of Reserve that fail says, after they took effect.
type lossy struct {
	quotav1.QuotaServiceClient
	fail  func(call int) bool
	calls int
}

func (l *lossy) Reserve(ctx context.Context, r *quotav1.ReserveRequest, opts ...grpc.CallOption) (*quotav1.ReserveResponse, error) {
	l.calls++
	response, err := l.QuotaServiceClient.Reserve(ctx, r, opts...)
	if l.fail(l.calls) {
		return nil, status.Error(codes.Unavailable, "connection lost")
	}
	return response, err
}

func reservations(n int) []*quotav1.Reservation {
	var out []*quotav1.Reservation
	for range n {
		out = append(out, &quotav1.Reservation{ReservationId: NewID(), AccountId: "bob", Bytes: 10, Messages: 1})
	}
	return out
}

func TestReserve(t *testing.T) {
	for name, c := range map[string]struct {
		n        int
		fail     func(call int) bool
		reason   rpcv1.Reason
		granted  int
		reserved int64
	}{
		"fits":                        {3, func(int) bool { return false }, 0, 3, 30},
		"some fit":                    {12, func(int) bool { return false }, 0, 10, 100},
		"lost answer, asked again":    {3, func(call int) bool { return call == 1 }, 0, 3, 30},
		"no answer":                   {3, func(int) bool { return true }, rpcv1.Reason_REASON_UNAVAILABLE, 0, 0},
		"no answer for the rest":      {maxReservations + 1, func(call int) bool { return call > 1 }, rpcv1.Reason_REASON_UNAVAILABLE, 0, 0},
		"several calls, each granted": {maxReservations + 7, func(int) bool { return false }, 0, 10, 100},
	} {
		t.Run(name, func(t *testing.T) {
			ledger := quotatest.New()
			ledger.SetLimit("bob", 100, -1)
			r := New(&lossy{QuotaServiceClient: ledger.Client(), fail: c.fail}, slog.New(slog.DiscardHandler))
			granted, err := r.Reserve(t.Context(), reservations(c.n))
			r.Wait()
			if fault.Reason(err) != c.reason {
				t.Errorf("got error %v, want %v", err, c.reason)
			}
			if err == nil && len(granted) != c.n {
				t.Errorf("got %d answers for %d", len(granted), c.n)
			}
			n := 0
			for _, ok := range granted {
				if ok {
					n++
				}
			}
			if got := ledger.Account("bob").ReservedBytes; n != c.granted || got != c.reserved {
				t.Errorf("%d granted, %d octets reserved; want %d and %d", n, got, c.granted, c.reserved)
			}
		})
	}
}

func TestReserveOneTellsThatItDoesNotFit(t *testing.T) {
	ledger := quotatest.New()
	ledger.SetLimit("bob", 100, 1)
	r := New(ledger.Client(), slog.New(slog.DiscardHandler))
	for i, want := range []rpcv1.Reason{0, rpcv1.Reason_REASON_OVER_QUOTA} {
		if err := r.ReserveOne(t.Context(), "bob", fmt.Sprint(i), 10, 1, false); fault.Reason(err) != want {
			t.Errorf("reservation %d gave %v", i, err)
		}
	}
	if err := r.ReserveOne(t.Context(), "bob", "exempt", 1000, 1, true); err != nil {
		t.Error(err)
	}
}

// absent does not answer the first calls, in either way.
type absent struct {
	quotav1.QuotaServiceClient
	calls int
}

func (a *absent) Reserve(ctx context.Context, r *quotav1.ReserveRequest, opts ...grpc.CallOption) (*quotav1.ReserveResponse, error) {
	switch a.calls++; a.calls {
	case 1, 2, 4:
		return nil, status.Error(codes.Unavailable, "nobody is there")
	case 3, 5:
		return nil, status.FromContextError(context.DeadlineExceeded).Err()
	}
	return a.QuotaServiceClient.Reserve(ctx, r, opts...)
}

func TestReserveWaitsForQuotaToComeBack(t *testing.T) {
	ledger := quotatest.New()
	ledger.SetLimit("bob", 100, -1)
	r := New(&absent{QuotaServiceClient: ledger.Client()}, slog.New(slog.DiscardHandler))
	r.Patience = time.Minute
	if granted, err := r.Reserve(t.Context(), reservations(1)); err != nil || !granted[0] {
		t.Errorf("got %v, %v", granted, err)
	}
}
