package server

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// A database does not take every text; a client sends it all the same.
func TestNamesThatNoDatabaseHolds(t *testing.T) {
	s := start(t, "--directory-database-url="+postgres.Start(t).Database(t))
	for _, name := range []string{
		"\"a\x01b\"@example.test", "a\xffb@example.test", "\"\\\x7f\"@example.test", "alice@example\xff.test", "alice\u0000@example.test", "\xed\xa0\x80@example.test",
		"\"a\x00b\"@example.test", "'; DROP TABLE accounts; --@example.test", "a?b$1@example.test", "", "@", "alice", "\u202e@example.test",
	} {
		got := s.plain("192.0.2.1", name, secret)
		if got != rpcv1.Reason_REASON_AUTHENTICATION_FAILED && got != rpcv1.Reason_REASON_SASL_MALFORMED && got != rpcv1.Reason_REASON_THROTTLED {
			t.Errorf("login as %q: %v", name, got)
		}
		_, err := s.gateway.Resolve(t.Context(), &directoryv1.ResolveRequest{Address: name})
		if code := fault.Code(err); err != nil && code != codes.InvalidArgument {
			t.Errorf("resolve %q: %v", name, err)
		}
	}
}
