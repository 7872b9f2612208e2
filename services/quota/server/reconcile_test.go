package server

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"

	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

func (w *world) reconcile(account string, repair bool) map[string]*quotav1.ReconcileResponse {
	w.t.Helper()
	stream, err := w.admin().Reconcile(w.t.Context(), &quotav1.ReconcileRequest{AccountId: account, Repair: repair})
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]*quotav1.ReconcileResponse{}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			w.t.Fatal(err)
		}
		out[resp.GetAccountId()] = resp
	}
}

func (w *world) wantDrift(bytes float64) {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "yubin_quota_drift_bytes" {
			continue
		}
		if got := f.GetMetric()[0].GetGauge().GetValue(); got != bytes {
			w.t.Errorf("drift %v, want %v", got, bytes)
		}
		return
	}
	w.t.Error("there is no drift metric")
}

func TestReconcile(t *testing.T) {
	w := newWorld(t)
	w.settle(event("alice", 1, 10, 1), event("bob", 1, 20, 1))
	w.storage.sums["alice"] = func(applied int64) *storagev1.SumUsageResponse {
		// Event 2 of 5 bytes is pending: no drift.
		return &storagev1.SumUsageResponse{Bytes: 15, Messages: 2, PendingBytes: 5, PendingMessages: 1, LastSequence: 2}
	}
	w.storage.sums["bob"] = func(applied int64) *storagev1.SumUsageResponse {
		sum := &storagev1.SumUsageResponse{Bytes: 50, Messages: 3, LastSequence: 2}
		if applied < 2 {
			sum.PendingBytes, sum.PendingMessages = 10, 1
		}
		return sum
	}
	// Nothing of carol's was ever settled.
	w.storage.sums["carol"] = func(int64) *storagev1.SumUsageResponse {
		return &storagev1.SumUsageResponse{Bytes: 7, Messages: 1, LastSequence: 4}
	}
	got := w.reconcile("", false)
	if r := got["alice"]; r.GetDriftBytes() != 0 || r.GetUsedBytes() != 10 || r.GetStoredBytes() != 15 {
		t.Errorf("alice: %v", r)
	}
	if r := got["bob"]; r.GetDriftBytes() != -20 || r.GetDriftMessages() != -1 || r.GetRepaired() {
		t.Errorf("bob: %v", r)
	}
	w.wantDrift(27)
	if got := w.reconcile("bob", true)["bob"]; !got.GetRepaired() || got.GetDriftBytes() != -20 {
		t.Errorf("bob: %v", got)
	}
	w.reconcile("", true)
	w.wantDrift(7)
	// Bob's event that was pending is in the repaired sum and must not count again; carol's next one follows.
	w.settle(event("bob", 2, 10, 1), event("carol", 5, 1, 1))
	for account, want := range map[string]int64{"alice": 10, "bob": 50, "carol": 8} {
		if got := w.usage(account).GetUsedBytes(); got != want {
			t.Errorf("%s uses %d, want %d", account, got, want)
		}
	}
}

// An account that changes while it is compared is compared again.
func TestReconcileOfMovingAccount(t *testing.T) {
	w := newWorld(t)
	w.settle(event("alice", 1, 10, 1))
	calls := 0
	w.storage.sums["alice"] = func(applied int64) *storagev1.SumUsageResponse {
		if calls++; calls == 1 {
			w.settle(event("alice", 2, 10, 1))
			return &storagev1.SumUsageResponse{Bytes: 10, Messages: 1, LastSequence: 1}
		}
		if applied != 2 {
			t.Errorf("asked for what is pending after %d, want 2", applied)
		}
		return &storagev1.SumUsageResponse{Bytes: 20, Messages: 2, LastSequence: 2}
	}
	if r := w.reconcile("alice", true)["alice"]; r.GetDriftBytes() != 0 || r.GetUsedBytes() != 20 || r.GetRepaired() || calls != 2 {
		t.Errorf("after %d sums: %v", calls, r)
	}
}

// A ledger that was restored from a backup misses events which storage has forgotten. The gap shows, and is healed.
func TestGapIsHealed(t *testing.T) {
	w := newWorld(t)
	w.settle(event("alice", 1, 10, 1))
	w.storage.sums["alice"] = func(int64) *storagev1.SumUsageResponse {
		// As much was deleted as delivered in the forgotten events: no drift.
		return &storagev1.SumUsageResponse{Bytes: 15, Messages: 2, PendingBytes: 5, PendingMessages: 1, LastSequence: 7}
	}
	healed := func() bool {
		return w.settle(event("alice", 7, 5, 1))["alice"] == 7
	}
	if healed() {
		t.Fatal("event 7 after event 1")
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.srv.loop.Run(ctx) }()
	for !healed() && !t.Failed() {
		runtime.Gosched()
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := w.usage("alice").GetUsedBytes(); got != 15 {
		t.Errorf("alice uses %d, want 15", got)
	}
}

// Storage that was restored from a backup counts its events from an earlier one on.
func TestLedgerAheadOfStorage(t *testing.T) {
	w := newWorld(t)
	w.settle(event("alice", 1, 10, 1), event("alice", 2, 0, 0))
	w.storage.sums["alice"] = func(int64) *storagev1.SumUsageResponse {
		return &storagev1.SumUsageResponse{Bytes: 10, Messages: 1, LastSequence: 1}
	}
	w.reconcile("alice", true)
	w.settle(event("alice", 2, 5, 1))
	if got := w.usage("alice").GetUsedBytes(); got != 15 {
		t.Errorf("alice uses %d, want 15", got)
	}
}
