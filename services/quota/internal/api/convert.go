package api

import (
	"slices"
	"strings"

	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

func usageProto(u ledger.Usage) *quotav1.Usage {
	return &quotav1.Usage{
		AccountId:        u.AccountID,
		LimitBytes:       u.Limit.Bytes,
		LimitMessages:    u.Limit.Messages,
		UsedBytes:        u.Used.Bytes,
		UsedMessages:     u.Used.Messages,
		ReservedBytes:    u.Reserved.Bytes,
		ReservedMessages: u.Reserved.Messages,
	}
}

func validate(accountID string, n ledger.Amount) error {
	switch {
	case !validID(accountID):
		return invalidID("account", accountID)
	case n.Bytes < 0 || n.Messages < 0 || n.Bytes > maxAmount || n.Messages > maxAmount:
		return invalid("%d bytes, %d messages: must be 0 to %d", n.Bytes, n.Messages, int64(maxAmount))
	}
	return nil
}

// validID tells whether a text may be an id: not every database holds NUL.
func validID(id string) bool {
	return id != "" && len(id) <= maxID && !strings.Contains(id, "\x00")
}

// known leaves out what no reservation can have as its id.
func known(ids []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !validID(id) })
}

func invalidID(what, id string) error {
	return invalid("%s id of %d octets, must be 1 to %d without NUL", what, len(id), maxID)
}

func reservationsOf(req *quotav1.ReserveRequest) ([]ledger.Reservation, error) {
	if len(req.GetReservations()) > maxBatch {
		return nil, invalid("more than %d reservations in one call", maxBatch)
	}
	out := make([]ledger.Reservation, len(req.GetReservations()))
	for i, r := range req.GetReservations() {
		out[i] = ledger.Reservation{
			ID:        r.GetReservationId(),
			AccountID: r.GetAccountId(),
			Amount:    ledger.Amount{Bytes: r.GetBytes(), Messages: r.GetMessages()},
			Exempt:    r.GetExempt(),
		}
		if err := validate(out[i].AccountID, out[i].Amount); err != nil {
			return nil, err
		}
		if !validID(out[i].ID) {
			return nil, invalidID("reservation", out[i].ID)
		}
	}
	return out, nil
}

func eventsOf(req *quotav1.SettleRequest) ([]ledger.Event, error) {
	if len(req.GetEvents()) > maxBatch {
		return nil, invalid("more than %d events in one call", maxBatch)
	}
	out := make([]ledger.Event, len(req.GetEvents()))
	for i, e := range req.GetEvents() {
		out[i] = ledger.Event{
			AccountID:      e.GetAccountId(),
			Sequence:       e.GetSequence(),
			Delta:          ledger.Amount{Bytes: e.GetDeltaBytes(), Messages: e.GetDeltaMessages()},
			ReservationIDs: known(e.GetReservationIds()),
		}
		size := ledger.Amount{Bytes: max(out[i].Delta.Bytes, -out[i].Delta.Bytes), Messages: max(out[i].Delta.Messages, -out[i].Delta.Messages)}
		if err := validate(out[i].AccountID, size); err != nil {
			return nil, err
		}
		if out[i].Sequence < 1 {
			return nil, invalid("sequence %d, the first is 1", out[i].Sequence)
		}
	}
	return out, nil
}
