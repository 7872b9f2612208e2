// Package capacity asks the quota service for room before a write, and gives it back where the write did not happen.
package capacity

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

const (
	// reserveTimeout bounds one call of Reserve, releaseTimeout of Release; what is not released expires in quota.
	reserveTimeout = 5 * time.Second
	releaseTimeout = 5 * time.Second
	// reserveTries is how often a call of Reserve is made at least: a reservation id makes it idempotent.
	reserveTries = 2
	reservePause = 50 * time.Millisecond
)

// HoldTime is how long after its reservation a write may still commit. It must be well under the time after which quota
// lets a reservation expire (2 minutes). A write that begins to commit later than FreshTime after its reservation asks for it again.
const (
	HoldTime  = time.Minute
	FreshTime = 30 * time.Second
)

// maxReservations bounds the reservations of one call.
const maxReservations = 5000

// ErrOverQuota is the fault of a write that does not fit.
var ErrOverQuota = fault.New(codes.ResourceExhausted, rpcv1.Reason_REASON_OVER_QUOTA, "the mailbox is full")

// Reserver talks to the quota service.
type Reserver struct {
	// Patience is how long reservations are tried again while quota cannot be reached or does not answer, beyond the tries that are
	// always made. Set it before the first call.
	Patience time.Duration

	client   quotav1.QuotaServiceClient
	log      *slog.Logger
	releases sync.WaitGroup
}

// New makes a Reserver.
func New(client quotav1.QuotaServiceClient, log *slog.Logger) *Reserver {
	return &Reserver{client: client, log: log}
}

// NewID makes a reservation id.
func NewID() string { return rand.Text() }

// Reserve asks for several reservations, in one call as a rule, and tells for each whether it was granted. If quota cannot
// answer it fails with REASON_UNAVAILABLE, and whatever was granted meanwhile is released.
func (r *Reserver) Reserve(ctx context.Context, reservations []*quotav1.Reservation) ([]bool, error) {
	var granted []bool
	for some := range slices.Chunk(reservations, maxReservations) {
		results, err := r.reserveSome(ctx, some)
		if err != nil {
			var ids []string
			for i, ok := range granted {
				if ok {
					ids = append(ids, reservations[i].GetReservationId())
				}
			}
			r.Release(ids...)
			return nil, err
		}
		granted = append(granted, results...)
	}
	return granted, nil
}

func (r *Reserver) reserveSome(ctx context.Context, reservations []*quotav1.Reservation) ([]bool, error) {
	var response *quotav1.ReserveResponse
	var err error
	begin := time.Now()
	for tries := 1; ; tries++ {
		response, err = r.reserve(ctx, reservations)
		if !r.again(ctx, err, tries, time.Since(begin)) {
			break
		}
	}
	if err == nil && len(response.GetResults()) != len(reservations) {
		err = fault.Newf(codes.Internal, rpcv1.Reason_REASON_UNAVAILABLE, "quota answered %d of %d reservations", len(response.GetResults()), len(reservations))
	}
	if err != nil {
		ids := make([]string, len(reservations))
		for i, reservation := range reservations {
			ids[i] = reservation.GetReservationId()
		}
		r.Release(ids...)
		if fault.Is(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND) {
			return nil, err
		}
		return nil, fault.Wrap(err, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "the quota of the mailbox cannot be checked, try again later")
	}
	granted := make([]bool, len(reservations))
	for i, result := range response.GetResults() {
		granted[i] = result.GetGranted()
	}
	return granted, nil
}

// again tells whether a call is made once more, and pauses before that where it may be many times.
func (r *Reserver) again(ctx context.Context, err error, tries int, since time.Duration) bool {
	if err == nil || ctx.Err() != nil {
		return false
	}
	lost := rpc.Transient(err)
	if lost && tries < reserveTries {
		return true
	}
	if since >= r.Patience || !lost && fault.Code(err) != codes.DeadlineExceeded {
		return false
	}
	select {
	case <-time.After(reservePause):
		return true
	case <-ctx.Done():
		return false
	}
}

// ReserveOne asks for a single reservation. Errors: OVER_QUOTA, UNAVAILABLE.
func (r *Reserver) ReserveOne(ctx context.Context, account, id string, bytes, messages int64, exempt bool) error {
	granted, err := r.Reserve(ctx, []*quotav1.Reservation{{
		ReservationId: id, AccountId: account, Bytes: bytes, Messages: messages, Exempt: exempt,
	}})
	if err == nil && !granted[0] {
		return ErrOverQuota
	}
	return err
}

func (r *Reserver) reserve(ctx context.Context, reservations []*quotav1.Reservation) (*quotav1.ReserveResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, reserveTimeout)
	defer cancel()
	return r.client.Reserve(ctx, &quotav1.ReserveRequest{Reservations: reservations})
}

// Release gives reservations back in the background: the caller's answer does not wait for it, nor end with its context. An empty id is none.
func (r *Reserver) Release(ids ...string) {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == "" })
	if len(ids) == 0 {
		return
	}
	r.releases.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
		defer cancel()
		if _, err := r.client.Release(ctx, &quotav1.ReleaseRequest{ReservationIds: ids}); err != nil {
			r.log.Warn("reservations not released, they will expire", "count", len(ids), "error", err)
		}
	})
}

// Wait returns when all releases have ended.
func (r *Reserver) Wait() { r.releases.Wait() }
