// Package api is the gRPC face of the ledger.
package api

import (
	"context"
	"errors"
	"slices"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

const (
	// maxAmount of one call keeps every sum of the ledger far from the end of int64.
	maxAmount = 1 << 50
	// maxBatch bounds the transaction of one call.
	maxBatch = 10_000
	// maxID bounds ids, in octets.
	maxID = 64
)

// Service implements quotav1.QuotaServiceServer.
type Service struct {
	quotav1.UnimplementedQuotaServiceServer
	Ledger    *ledger.Ledger
	Directory directoryv1.DirectoryServiceClient
	Metrics   *Metrics
	// Suspect is told of accounts whose events have a gap.
	Suspect func(accountID string)
}

// Check implements quotav1.QuotaServiceServer. A message of unknown size (bytes 0) has at least one octet.
func (s *Service) Check(ctx context.Context, req *quotav1.CheckRequest) (*quotav1.CheckResponse, error) {
	n := ledger.Amount{Bytes: req.GetBytes(), Messages: req.GetMessages()}
	if err := validate(req.GetAccountId(), n); err != nil {
		return nil, err
	}
	if n.Messages > 0 {
		n.Bytes = max(1, n.Bytes)
	}
	var resp quotav1.CheckResponse
	err := s.withAccount(ctx, func() error {
		fits, usage, err := s.Ledger.Check(ctx, req.GetAccountId(), n)
		if err != nil {
			return err
		}
		if !fits {
			s.Metrics.refused(callCheck, usage, n)
		}
		resp.Fits, resp.Usage = fits, usageProto(usage)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &resp, nil
}

// Reserve implements quotav1.QuotaServiceServer. An account that the directory does not know is ACCOUNT_NOT_FOUND if the request is
// about no other; else its reservations are refused, so that a deleted account does not hold up the deliveries beside it.
func (s *Service) Reserve(ctx context.Context, req *quotav1.ReserveRequest) (*quotav1.ReserveResponse, error) {
	reservations, err := reservationsOf(req)
	if err != nil {
		return nil, err
	}
	results, err := s.reserve(ctx, reservations)
	if err != nil {
		return nil, err
	}
	resp := &quotav1.ReserveResponse{Results: make([]*quotav1.ReserveResponse_Result, len(reservations))}
	for i, r := range reservations {
		result := &quotav1.ReserveResponse_Result{ReservationId: r.ID, Granted: results[i].Granted}
		if result.Granted {
			s.Metrics.granted.Inc()
		} else {
			s.Metrics.refusedReserve.Inc()
			s.Metrics.refused(callReserve, results[i].Usage, r.Amount)
			result.Usage = usageProto(results[i].Usage)
		}
		resp.Results[i] = result
	}
	return resp, nil
}

func (s *Service) reserve(ctx context.Context, reservations []ledger.Reservation) ([]ledger.Result, error) {
	results, err := s.Ledger.Reserve(ctx, reservations)
	missing, ok := errors.AsType[*ledger.MissingError](err)
	if !ok {
		return results, reuse(err)
	}
	unknown, err := s.open(ctx, missing.Accounts)
	if err != nil {
		return nil, err
	}
	isUnknown := func(r ledger.Reservation) bool { return slices.Contains(unknown, r.AccountID) }
	known := slices.DeleteFunc(slices.Clone(reservations), isUnknown)
	if len(known) == 0 {
		return nil, errNoAccount
	}
	granted, err := s.Ledger.Reserve(ctx, known)
	if err != nil {
		return nil, reuse(err)
	}
	results = make([]ledger.Result, len(reservations))
	for i, r := range reservations {
		if isUnknown(r) {
			results[i].Usage.AccountID = r.AccountID
			continue
		}
		results[i], granted = granted[0], granted[1:]
	}
	return results, nil
}

func reuse(err error) error {
	if errors.Is(err, ledger.ErrReused) {
		return invalid("%v", ledger.ErrReused)
	}
	return err
}

// Release implements quotav1.QuotaServiceServer.
func (s *Service) Release(ctx context.Context, req *quotav1.ReleaseRequest) (*quotav1.ReleaseResponse, error) {
	if len(req.GetReservationIds()) > maxBatch {
		return nil, invalid("more than %d reservations in one call", maxBatch)
	}
	return &quotav1.ReleaseResponse{}, s.Ledger.Release(ctx, known(req.GetReservationIds()))
}

// Settle implements quotav1.QuotaServiceServer. Events of an account that the directory does not have any more count as applied:
// there is nothing left to keep an account of. While the directory cannot be reached the events of accounts
// that were never seen are left alone, the others are applied.
func (s *Service) Settle(ctx context.Context, req *quotav1.SettleRequest) (*quotav1.SettleResponse, error) {
	events, err := eventsOf(req)
	if err != nil {
		return nil, err
	}
	settlement, err := s.Ledger.Settle(ctx, events)
	if err != nil {
		return nil, err
	}
	s.note(settlement, events)
	applied := settlement.Applied
	if len(settlement.Missing) > 0 {
		if err := s.settleNew(ctx, applied, events, settlement.Missing); err != nil {
			return nil, err
		}
	}
	return &quotav1.SettleResponse{Applied: applied}, nil
}

// settleNew settles the events of accounts without a ledger row and adds the outcome to applied.
func (s *Service) settleNew(ctx context.Context, applied map[string]int64, events []ledger.Event, accounts []string) error {
	unknown, err := s.open(ctx, accounts)
	if err != nil {
		if len(applied) == 0 {
			return err
		}
		for _, id := range accounts {
			applied[id] = 0
		}
		return nil
	}
	var left []ledger.Event
	for _, e := range events {
		switch {
		case slices.Contains(unknown, e.AccountID):
			applied[e.AccountID] = max(applied[e.AccountID], e.Sequence)
		case slices.Contains(accounts, e.AccountID):
			left = append(left, e)
		}
	}
	settlement, err := s.Ledger.Settle(ctx, left)
	if err != nil {
		return err
	}
	s.note(settlement, left)
	for id, last := range settlement.Applied {
		applied[id] = last
	}
	for _, id := range settlement.Missing { // forgotten in this moment
		applied[id] = 0
	}
	return nil
}

func (s *Service) note(settlement *ledger.Settlement, events []ledger.Event) {
	missing := 0
	for _, e := range events {
		if slices.Contains(settlement.Missing, e.AccountID) {
			missing++
		}
	}
	s.Metrics.settled(settlement, len(events)-missing)
	for _, id := range settlement.Gaps {
		s.Suspect(id)
	}
}

// GetUsage implements quotav1.QuotaServiceServer.
func (s *Service) GetUsage(ctx context.Context, req *quotav1.GetUsageRequest) (*quotav1.GetUsageResponse, error) {
	if err := validate(req.GetAccountId(), ledger.Amount{}); err != nil {
		return nil, err
	}
	var resp quotav1.GetUsageResponse
	err := s.withAccount(ctx, func() error {
		usage, err := s.Ledger.Usage(ctx, req.GetAccountId())
		resp.Usage = usageProto(usage)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &resp, nil
}

// expire runs one sweep over the reservations.
func (s *Service) expire(ctx context.Context) error {
	for {
		n, err := s.Ledger.Expire(ctx)
		if err != nil || n == 0 {
			return err
		}
		s.Metrics.expired.Add(float64(n))
	}
}

var _ quotav1.QuotaServiceServer = (*Service)(nil)
