package server

import (
	"os"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

func TestTwoReplicas(t *testing.T) {
	url := "--quota-database-url=" + postgres.Start(t).Database(t)
	one := newWorld(t, url)
	other := one.replica(url)
	if entries, err := os.ReadDir(one.dir); err != nil || len(entries) > 0 {
		t.Errorf("with a database the data directory is not used: %v, %v", entries, err)
	}
	other.setLimit("alice", 100)
	one.settle(event("alice", 1, 85, 1))
	if u := other.usage("alice"); u.GetUsedBytes() != 85 || u.GetLimitBytes() != 100 {
		t.Errorf("the other replica sees %v", u)
	}
	var senders sync.WaitGroup
	for _, w := range []*world{one, other} {
		senders.Go(func() {
			if err := w.srv.sender.Send(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	senders.Wait()
	if got := one.storage.subjects(); len(got) != 1 {
		t.Errorf("warnings %q", got)
	}
	sent := 0.0
	for _, w := range []*world{one, other} {
		n, err := testutil.GatherAndCount(w.registry, "yubin_quota_notices_total")
		if err != nil {
			t.Error(err)
		}
		sent += float64(n)
	}
	if sent != 1 {
		t.Errorf("%v replicas count the warning", sent)
	}

	// A text that PostgreSQL does not hold is no id, and no reason to fail for what is beside it.
	if _, err := one.quota("imap").GetUsage(t.Context(), &quotav1.GetUsageRequest{AccountId: "a\x00"}); fault.Code(err) != codes.InvalidArgument {
		t.Errorf("an id with NUL: %v", err)
	}
	if _, err := one.quota("storage").Release(t.Context(), &quotav1.ReleaseRequest{ReservationIds: []string{"r\x00", ""}}); err != nil {
		t.Error(err)
	}

	sums := 0
	one.storage.sums["alice"] = func(applied int64) *storagev1.SumUsageResponse {
		sums++
		return &storagev1.SumUsageResponse{Bytes: 80, Messages: 1, LastSequence: applied}
	}
	for _, w := range []*world{one, other, one} {
		if err := w.srv.loop.Look(t.Context()); err != nil {
			t.Error(err)
		}
		w.wantDrift(5)
	}
	if u := other.usage("alice"); sums != 1 || u.GetUsedBytes() != 80 {
		t.Errorf("after %d comparisons: %v", sums, u)
	}
}
