package harness

import (
	"encoding/json"
	"strings"
	"testing"
)

// Usage is what the quota ledger says of an account, as `yubin quota show --json` prints it.
type Usage struct {
	UsedBytes        int64 `json:"used_bytes"`
	UsedMessages     int64 `json:"used_messages"`
	ReservedBytes    int64 `json:"reserved_bytes"`
	ReservedMessages int64 `json:"reserved_messages"`
}

// Usage asks for the usage of an account.
func (s *System) Usage(tb testing.TB, name string) Usage {
	tb.Helper()
	var u Usage
	if err := json.Unmarshal([]byte(s.CLI(tb, "quota", "show", Address(name), "--json")), &u); err != nil {
		tb.Fatalf("quota show: %v", err)
	}
	return u
}

// Reconciled is one account in the answer of `yubin quota reconcile --json`.
type Reconciled struct {
	Address        string `json:"address"`
	UsedBytes      int64  `json:"used_bytes"`
	UsedMessages   int64  `json:"used_messages"`
	StoredBytes    int64  `json:"stored_bytes"`
	StoredMessages int64  `json:"stored_messages"`
	DriftBytes     int64  `json:"drift_bytes"`
	DriftMessages  int64  `json:"drift_messages"`
}

// NoDrift checks that the ledger says what is stored, for every account, and gives the accounts by address.
func (s *System) NoDrift(tb testing.TB) map[string]Reconciled {
	tb.Helper()
	out, stderr, err := s.TryCLI(tb, "", "quota", "reconcile", "--json")
	if err != nil {
		tb.Fatalf("quota reconcile: %v\n%s%s", err, out, stderr)
	}
	all := map[string]Reconciled{}
	for line := range strings.Lines(out) {
		var r Reconciled
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			tb.Fatalf("quota reconcile: %v in %q", err, line)
		}
		if r.DriftBytes != 0 || r.DriftMessages != 0 {
			tb.Fatalf("the ledger differs from what is stored: %+v", r)
		}
		all[r.Address] = r
	}
	return all
}
