// Package maildrop keeps the exclusive POP3 leases of this process alive (RFC 1939 section 8). A lease is a row that
// expires by itself, so that a crash does not lock a maildrop for good.
package maildrop

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

const (
	// ttl is how long a lease outlives its process, renewEvery how often it is renewed.
	ttl        = 45 * time.Second
	renewEvery = 10 * time.Second
	// grace is how long a session waits for a lease: the client that has quit and comes back at once finds its last session
	// still being ended. It asks again every retryEvery.
	grace      = 300 * time.Millisecond
	retryEvery = 20 * time.Millisecond
	// releaseTimeout bounds the release of a lease; what fails expires.
	releaseTimeout = 5 * time.Second
)

// Table is where leases are kept.
type Table interface {
	SucceedLease(ctx context.Context, lease meta.Lease, previous string, ttl time.Duration) error
	RenewLeases(ctx context.Context, leases []meta.Lease, ttl time.Duration) (lost []meta.Lease, err error)
	ReleaseLease(ctx context.Context, lease meta.Lease) error
}

// Keeper renews the leases of this process.
type Keeper struct {
	table Table
	log   *slog.Logger

	mu   sync.Mutex
	held map[meta.Lease]chan struct{} // closed when the lease is lost
}

// New makes a Keeper.
func New(table Table, log *slog.Logger) *Keeper {
	return &Keeper{table: table, log: log, held: map[meta.Lease]chan struct{}{}}
}

// Held is a lease that this process renews.
type Held struct {
	ID string
	// Lost is closed if the lease is lost before it is given back.
	Lost <-chan struct{}

	keeper *Keeper
	lease  meta.Lease
}

// Acquire takes the maildrop of an account; previous is the lease, if any, that the session had at another replica. The caller gives it back by
// Release or Leave. Errors: MAILDROP_IN_USE.
func (k *Keeper) Acquire(ctx context.Context, account, previous string) (*Held, error) {
	lease := meta.Lease{AccountID: account, ID: rand.Text()}
	if err := k.acquire(ctx, lease, previous); err != nil {
		return nil, err
	}
	lost := make(chan struct{})
	k.mu.Lock()
	k.held[lease] = lost
	k.mu.Unlock()
	return &Held{ID: lease.ID, Lost: lost, keeper: k, lease: lease}, nil
}

func (k *Keeper) acquire(ctx context.Context, lease meta.Lease, previous string) error {
	patience := time.NewTimer(grace)
	defer patience.Stop()
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	for {
		err := k.table.SucceedLease(ctx, lease, previous, ttl)
		if !fault.Is(err, rpcv1.Reason_REASON_MAILDROP_IN_USE) {
			return err
		}
		select {
		case <-retry.C:
		case <-patience.C:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Leave renews the lease no longer: the session has the rest of its time to go on at another replica.
func (h *Held) Leave() {
	h.keeper.mu.Lock()
	defer h.keeper.mu.Unlock()
	delete(h.keeper.held, h.lease)
}

// Release ends the lease.
func (h *Held) Release() {
	h.Leave()
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if err := h.keeper.table.ReleaseLease(ctx, h.lease); err != nil {
		h.keeper.log.Warn("maildrop lease not released, it will expire", "error", err)
	}
}

// Run renews until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			k.renew(ctx)
		}
	}
}

func (k *Keeper) renew(ctx context.Context) {
	k.mu.Lock()
	leases := make([]meta.Lease, 0, len(k.held))
	for lease := range k.held {
		leases = append(leases, lease)
	}
	k.mu.Unlock()
	if len(leases) == 0 {
		return
	}
	lost, err := k.table.RenewLeases(ctx, leases, ttl)
	if err != nil {
		k.log.Warn("maildrop leases not renewed, will try again", "count", len(leases), "error", err)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, lease := range lost {
		if c, held := k.held[lease]; held {
			delete(k.held, lease)
			close(c)
		}
	}
}
