package server

import (
	"maps"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/spf13/pflag"

	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

func reservation(id, account string, bytes int64) *quotav1.Reservation {
	return &quotav1.Reservation{ReservationId: id, AccountId: account, Bytes: bytes, Messages: 1}
}

func TestDefaultLimits(t *testing.T) {
	w := newWorld(t)
	u := w.usage("alice")
	if u.GetLimitBytes() != 5_000_000_000 || u.GetLimitMessages() != -1 {
		t.Errorf("default limits %v", u)
	}
}

func TestDirectoryAtFirstTouch(t *testing.T) {
	w := newWorld(t)
	reserve := func(reservations ...*quotav1.Reservation) ([]*quotav1.ReserveResponse_Result, error) {
		resp, err := w.quota("storage").Reserve(t.Context(), &quotav1.ReserveRequest{Reservations: reservations})
		return resp.GetResults(), err
	}
	_, err := reserve(reservation("1", "nobody", 1))
	wantReason(t, err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND)
	_, err = w.quota("smtp").Check(t.Context(), &quotav1.CheckRequest{AccountId: "nobody", Messages: 1})
	wantReason(t, err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND)

	w.directory.setDown(true)
	_, err = reserve(reservation("1", "alice", 1))
	wantReason(t, err, rpcv1.Reason_REASON_UNAVAILABLE)
	w.directory.setDown(false)

	// A deleted account does not hold up the others.
	results, err := reserve(reservation("1", "nobody", 1), reservation("2", "alice", 1), reservation("3", "bob", 6e9))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true, false} {
		if results[i].GetGranted() != want {
			t.Errorf("result %d: %v", i, results[i])
		}
	}
	w.directory.setDown(true)
	if _, err = reserve(reservation("4", "alice", 1)); err != nil {
		t.Errorf("a known account needs the directory: %v", err)
	}
}

func TestCheckOfUnknownSize(t *testing.T) {
	w := newWorld(t)
	w.setLimit("alice", 100)
	for used, want := range map[int64]bool{99: true, 100: false} {
		at := w.usage("alice")
		w.settle(event("alice", at.GetUsedMessages()+1, used-at.GetUsedBytes(), 1))
		resp, err := w.quota("smtp").Check(t.Context(), &quotav1.CheckRequest{AccountId: "alice", Messages: 1})
		if err != nil || resp.GetFits() != want {
			t.Errorf("at %d of 100: fits %v, %v", used, resp.GetFits(), err)
		}
	}
}

func TestSettleWithoutDirectory(t *testing.T) {
	w := newWorld(t)
	w.usage("alice")
	w.directory.setDown(true)
	got := w.settle(event("alice", 1, 10, 1), event("bob", 1, 10, 1))
	if want := map[string]int64{"alice": 1, "bob": 0}; !maps.Equal(got, want) {
		t.Errorf("applied %v, want %v", got, want)
	}
	_, err := w.quota("storage").Settle(t.Context(), &quotav1.SettleRequest{Events: []*quotav1.Event{event("bob", 1, 10, 1)}})
	wantReason(t, err, rpcv1.Reason_REASON_UNAVAILABLE)
	w.directory.setDown(false)
	// The events of a deleted account are done with.
	got = w.settle(event("alice", 1, 10, 1), event("bob", 1, 10, 1), event("nobody", 7, -10, -1), event("nobody", 8, -10, -1))
	if want := map[string]int64{"alice": 1, "bob": 1, "nobody": 8}; !maps.Equal(got, want) {
		t.Errorf("applied %v, want %v", got, want)
	}
}

func TestCallers(t *testing.T) {
	w := newWorld(t)
	for _, caller := range []string{"smtp", "imap", "pop3", "storage"} {
		_, err := quotav1.NewQuotaAdminServiceClient(w.in.Client(caller)).SetLimit(t.Context(), &quotav1.SetLimitRequest{})
		wantReason(t, err, rpcv1.Reason_REASON_CALLER_NOT_ALLOWED)
	}
	_, err := w.quota("smtp").Reserve(t.Context(), &quotav1.ReserveRequest{})
	wantReason(t, err, rpcv1.Reason_REASON_CALLER_NOT_ALLOWED)
}

func TestBadRequests(t *testing.T) {
	w := newWorld(t)
	q := w.quota("storage")
	for name, call := range map[string]func() error{
		"no account": func() error {
			_, err := q.GetUsage(t.Context(), &quotav1.GetUsageRequest{})
			return err
		},
		"negative size": func() error {
			_, err := q.Reserve(t.Context(), &quotav1.ReserveRequest{Reservations: []*quotav1.Reservation{reservation("1", "alice", -1)}})
			return err
		},
		"size that would overflow": func() error {
			_, err := q.Check(t.Context(), &quotav1.CheckRequest{AccountId: "alice", Bytes: 1 << 62})
			return err
		},
		"no reservation id": func() error {
			_, err := q.Reserve(t.Context(), &quotav1.ReserveRequest{Reservations: []*quotav1.Reservation{reservation("", "alice", 1)}})
			return err
		},
		"sequence 0": func() error {
			_, err := q.Settle(t.Context(), &quotav1.SettleRequest{Events: []*quotav1.Event{event("alice", 0, 1, 1)}})
			return err
		},
		"one id for two writes": func() error {
			_, err := q.Reserve(t.Context(), &quotav1.ReserveRequest{Reservations: []*quotav1.Reservation{reservation("1", "alice", 1), reservation("1", "bob", 1)}})
			return err
		},
		"no scope": func() error {
			_, err := w.admin().SetLimit(t.Context(), &quotav1.SetLimitRequest{})
			return err
		},
		"limit below -1": func() error {
			_, err := w.admin().SetLimit(t.Context(), &quotav1.SetLimitRequest{
				Scope: &quotav1.Scope{Scope: &quotav1.Scope_Global{Global: true}}, Limit: &quotav1.Limit{Bytes: new(int64(-2))}})
			return err
		},
		"no domain": func() error {
			_, err := w.admin().SetLimit(t.Context(), &quotav1.SetLimitRequest{Scope: &quotav1.Scope{Scope: &quotav1.Scope_Domain{Domain: "a b"}}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { wantReason(t, call(), rpcv1.Reason_REASON_INVALID) })
	}
}

func TestLimitsByScope(t *testing.T) {
	w := newWorld(t)
	set := func(scope *quotav1.Scope, bytes int64) {
		t.Helper()
		if _, err := w.admin().SetLimit(t.Context(), &quotav1.SetLimitRequest{Scope: scope, Limit: &quotav1.Limit{Bytes: &bytes}}); err != nil {
			t.Fatal(err)
		}
	}
	set(&quotav1.Scope{Scope: &quotav1.Scope_Global{Global: true}}, 1)
	set(&quotav1.Scope{Scope: &quotav1.Scope_Domain{Domain: "Example.TEST"}}, 2)
	set(&quotav1.Scope{Scope: &quotav1.Scope_AccountId{AccountId: "alice"}}, 3)
	if a, b := w.usage("alice").GetLimitBytes(), w.usage("bob").GetLimitBytes(); a != 3 || b != 2 {
		t.Errorf("limits of alice %d and bob %d, want 3 and 2", a, b)
	}
	list, err := w.admin().ListLimits(t.Context(), &quotav1.ListLimitsRequest{})
	if err != nil || len(list.GetEntries()) != 3 || !list.GetEntries()[0].GetScope().GetGlobal() ||
		list.GetEntries()[1].GetScope().GetDomain() != "example.test" || list.GetEntries()[2].GetScope().GetAccountId() != "alice" {
		t.Errorf("limits %v, %v", list, err)
	}
	_, err = w.admin().SetLimit(t.Context(), &quotav1.SetLimitRequest{Scope: &quotav1.Scope{Scope: &quotav1.Scope_AccountId{AccountId: "nobody"}}})
	wantReason(t, err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND)
}

func TestListAndForget(t *testing.T) {
	w := newWorld(t)
	w.settle(event("alice", 1, 10, 1), event("bob", 1, 20, 1), event("carol", 1, 30, 1))
	var got []int64
	for token := ""; ; {
		page, err := w.admin().ListUsage(t.Context(), &quotav1.ListUsageRequest{PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page.GetUsages() {
			got = append(got, u.GetUsedBytes())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
	}
	if len(got) != 3 || got[0] != 10 || got[1] != 20 || got[2] != 30 {
		t.Errorf("usages %v", got)
	}
	if _, err := w.admin().ForgetAccount(t.Context(), &quotav1.ForgetAccountRequest{AccountId: "bob"}); err != nil {
		t.Fatal(err)
	}
	if used := w.usage("bob").GetUsedBytes(); used != 0 {
		t.Errorf("a forgotten account uses %d", used)
	}
}

func TestTotals(t *testing.T) {
	w := newWorld(t)
	w.setLimit("alice", 100)
	w.settle(event("alice", 1, 85, 1))
	if err := w.srv.totals.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := testutil.GatherAndCount(w.registry, "yubin_quota_accounts_fill_ratio", "yubin_quota_used_bytes", "yubin_quota_limit_bytes",
		"yubin_quota_reserved_bytes", "yubin_quota_used_messages", "yubin_quota_reserved_messages",
		"yubin_quota_limited_used_bytes", "yubin_quota_growth_bytes_per_second", "yubin_quota_time_to_full_seconds", "yubin_quota_totals_timestamp_seconds"); n != 10 || err != nil {
		t.Errorf("%d metrics, %v", n, err)
	}
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		switch f.GetName() {
		case "yubin_quota_used_bytes":
			if v := f.GetMetric()[0].GetGauge().GetValue(); v != 85 {
				t.Errorf("used %v", v)
			}
		case "yubin_quota_accounts_fill_ratio":
			for _, b := range f.GetMetric()[0].GetHistogram().GetBucket() {
				if want := b.GetUpperBound() >= 0.85; (b.GetCumulativeCount() == 1) != want {
					t.Errorf("bucket %v has %d", b.GetUpperBound(), b.GetCumulativeCount())
				}
			}
		}
	}
}

func TestWarnLevelsCanBeEmpty(t *testing.T) {
	for in, want := range map[string][]int{"": nil, "90": {90}, "100, 80%,80": {80, 100}} {
		var cfg Config
		fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
		cfg.Flags(fs)
		if err := fs.Parse([]string{"--quota-warn-levels", in}); err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		if got := cfg.warnLevels.ascending(); !slices.Equal(got, want) {
			t.Errorf("%q gives %v, want %v", in, got, want)
		}
	}
}
