// Package quotatest is a small quota service for the tests of storage: it reserves and settles by the same rules as the real
// one, in memory, and can be made to fail.
package quotatest

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// Account is the state of one account.
type Account struct {
	LimitBytes, LimitMessages       int64 // -1: none
	UsedBytes, UsedMessages         int64
	ReservedBytes, ReservedMessages int64
	Sequence                        int64 // of the last event applied
}

// Ledger implements quotav1.QuotaServiceServer. Accounts have no limit until one is set.
type Ledger struct {
	quotav1.UnimplementedQuotaServiceServer

	mu           sync.Mutex
	down         bool
	calls        int
	accounts     map[string]*Account
	reservations map[string]*quotav1.Reservation // granted; nil: refused, or not held any more
}

// New makes an empty ledger.
func New() *Ledger {
	return &Ledger{accounts: map[string]*Account{}, reservations: map[string]*quotav1.Reservation{}}
}

var errDown = fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "quota is down")

// SetDown makes all calls fail, or work again.
func (l *Ledger) SetDown(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
}

// SetLimit sets an account's limits; -1 is none.
func (l *Ledger) SetLimit(account string, bytes, messages int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(account)
	a.LimitBytes, a.LimitMessages = bytes, messages
}

// Account gives the state of an account.
func (l *Ledger) Account(account string) Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *l.account(account)
}

// Reserves counts the calls of Reserve.
func (l *Ledger) Reserves() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls
}

func (l *Ledger) account(id string) *Account {
	if l.accounts[id] == nil {
		l.accounts[id] = &Account{LimitBytes: -1, LimitMessages: -1}
	}
	return l.accounts[id]
}

// Reserve implements quotav1.QuotaServiceServer.
func (l *Ledger) Reserve(_ context.Context, r *quotav1.ReserveRequest) (*quotav1.ReserveResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errDown
	}
	l.calls++
	response := &quotav1.ReserveResponse{}
	for _, want := range r.GetReservations() {
		held, seen := l.reservations[want.GetReservationId()]
		granted := held != nil
		if !seen {
			a := l.account(want.GetAccountId())
			granted = want.GetExempt() || fits(a.LimitBytes, a.UsedBytes+a.ReservedBytes+want.GetBytes()) &&
				fits(a.LimitMessages, a.UsedMessages+a.ReservedMessages+want.GetMessages())
			l.reservations[want.GetReservationId()] = nil
			if granted {
				l.reservations[want.GetReservationId()] = want
				a.ReservedBytes += want.GetBytes()
				a.ReservedMessages += want.GetMessages()
			}
		}
		response.Results = append(response.Results, &quotav1.ReserveResponse_Result{ReservationId: want.GetReservationId(), Granted: granted})
	}
	return response, nil
}

func fits(limit, sum int64) bool { return limit < 0 || sum <= limit }

// Release implements quotav1.QuotaServiceServer.
func (l *Ledger) Release(_ context.Context, r *quotav1.ReleaseRequest) (*quotav1.ReleaseResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errDown
	}
	for _, id := range r.GetReservationIds() {
		l.release(id)
	}
	return &quotav1.ReleaseResponse{}, nil
}

// Expire takes back a reservation; the same can be made again.
func (l *Ledger) Expire(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release(id)
	delete(l.reservations, id)
}

func (l *Ledger) release(id string) {
	if held := l.reservations[id]; held != nil {
		a := l.account(held.GetAccountId())
		a.ReservedBytes -= held.GetBytes()
		a.ReservedMessages -= held.GetMessages()
		l.reservations[id] = nil
	}
}

// Settle implements quotav1.QuotaServiceServer.
func (l *Ledger) Settle(_ context.Context, r *quotav1.SettleRequest) (*quotav1.SettleResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errDown
	}
	response := &quotav1.SettleResponse{Applied: map[string]int64{}}
	for _, e := range r.GetEvents() {
		a := l.account(e.GetAccountId())
		if e.GetSequence() == a.Sequence+1 {
			a.Sequence++
			a.UsedBytes += e.GetDeltaBytes()
			a.UsedMessages += e.GetDeltaMessages()
			for _, id := range e.GetReservationIds() {
				l.release(id)
			}
		}
		response.Applied[e.GetAccountId()] = a.Sequence
	}
	return response, nil
}
