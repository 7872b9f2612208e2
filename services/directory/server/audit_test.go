package server

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
)

// buffer may be written to by several goroutines.
type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestAuditLog(t *testing.T) {
	const guess, mistyped = "not-it-at-all", "typed-into-the-wrong-field"
	s := start(t)
	s.plain("192.0.2.1", "Alice@Example.test", secret)
	s.plain("192.0.2.7", alice, guess)
	s.plain("192.0.2.8", mistyped, guess)
	s.setPassword(alice, "another-password")
	if _, err := s.admin.ListAccounts(t.Context(), &directoryv1.ListAccountsRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.DeleteAccount(t.Context(), &directoryv1.DeleteAccountRequest{Address: "nobody@example.test"}); err == nil {
		t.Error("an account was deleted that is none")
	}
	text := s.audit.String()
	for _, password := range []string{secret, guess, mistyped, "another-password"} {
		if strings.Contains(text, password) {
			t.Errorf("a password is in the log:\n%s", text)
		}
	}
	type record struct {
		Audit                                            bool
		Event, Account, Client, Protocol, Result, Caller string
		TLS                                              bool
		Method                                           string
		Request                                          struct{ Address string }
	}
	var logins, changes []record
	for line := range strings.Lines(text) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if !r.Audit {
			t.Errorf("not marked: %s", line)
		}
		switch r.Event {
		case "login":
			logins = append(logins, r)
		case "change":
			changes = append(changes, r)
		default:
			t.Errorf("unknown event: %s", line)
		}
	}
	for i, want := range []record{
		{Account: alice, Client: "192.0.2.1", Result: "ok"},
		{Account: alice, Client: "192.0.2.7", Result: "failed"},
		{Account: "", Client: "192.0.2.8", Result: "failed"},
	} {
		want.Audit, want.Event, want.Protocol, want.TLS = true, "login", "imap", true
		if len(logins) != 3 || logins[i] != want {
			t.Fatalf("logins are %+v", logins)
		}
	}
	var got []string
	for _, r := range changes {
		got = append(got, strings.TrimPrefix(r.Method, "/yubin.directory.v1.DirectoryAdminService/")+" "+r.Request.Address+" "+r.Result+" "+r.Caller)
	}
	want := "PutDomain  OK admin,CreateAccount alice@example.test OK admin,SetPassword alice@example.test OK admin,DeleteAccount nobody@example.test NotFound admin"
	if strings.Join(got, ",") != want {
		t.Errorf("changes are %s", strings.Join(got, ","))
	}
}
