package hostile

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/tests/harness"

	"google.golang.org/grpc"
)

// dial connects to a service with the identity of another, from an authority in dir.
func dial(t *testing.T, s *harness.System, dir, identity, service string) *grpc.ClientConn {
	t.Helper()
	authority, err := tlsconf.NewAuthority(dir)
	require.NoError(t, err)
	files, err := authority.Issue(identity, "localhost", "127.0.0.1")
	require.NoError(t, err)
	files.CA = filepath.Join(s.Dir, "ca", filepath.Base(files.CA)) // the client believes the server, whoever the client is
	config, err := tlsconf.MutualClient(files, service, tlsconf.Options{})
	require.NoError(t, err)
	conn, err := rpc.Dial("dns:///"+s.RPC[service], rpc.DialOptions{TLS: config, Timeout: 5 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestAGatewayCannotRaiseALimit(t *testing.T) {
	s := harness.Start(t, harness.Options{Shape: harness.Split, Accounts: []string{"alice"}, Args: cheapPasswords})
	ca := filepath.Join(s.Dir, "ca")
	raise := &quotav1.SetLimitRequest{Scope: &quotav1.Scope{Scope: &quotav1.Scope_Global{Global: true}}, Limit: &quotav1.Limit{Bytes: new(int64(1))}}
	for _, gateway := range []string{"smtp", "pop3", "imap", "storage", "directory", "quota", "nobody"} {
		_, err := quotav1.NewQuotaAdminServiceClient(dial(t, s, ca, gateway, "quota")).SetLimit(t.Context(), raise)
		require.Equal(t, codes.PermissionDenied, fault.Code(err), "%s: %v", gateway, err)
		require.Equal(t, rpcv1.Reason_REASON_CALLER_NOT_ALLOWED, fault.Reason(err), gateway)
	}
	_, err := directoryv1.NewDirectoryAdminServiceClient(dial(t, s, ca, "smtp", "directory")).PutDomain(t.Context(), &directoryv1.PutDomainRequest{})
	require.Equal(t, rpcv1.Reason_REASON_CALLER_NOT_ALLOWED, fault.Reason(err), "%v", err)
	_, err = storagev1.NewStorageServiceClient(dial(t, s, ca, "directory", "storage")).ListMailboxes(t.Context(), &storagev1.ListMailboxesRequest{})
	require.Equal(t, rpcv1.Reason_REASON_CALLER_NOT_ALLOWED, fault.Reason(err), "%v", err)

	limits := s.CLI(t, "quota", "limits", "--json")
	require.NotContains(t, limits, "global", "nothing was changed")
	_, err = quotav1.NewQuotaAdminServiceClient(dial(t, s, ca, "admin", "quota")).SetLimit(t.Context(), &quotav1.SetLimitRequest{
		Scope: &quotav1.Scope{Scope: &quotav1.Scope_Global{Global: true}}, Limit: &quotav1.Limit{Bytes: new(int64(1_000_000))},
	})
	require.NoError(t, err, "the operator may")
}

func TestStrangersCannotCallServices(t *testing.T) {
	s := harness.Start(t, harness.Options{Shape: harness.Split, Accounts: []string{"alice"}, Args: cheapPasswords})
	set := &quotav1.SetLimitRequest{Scope: &quotav1.Scope{Scope: &quotav1.Scope_Global{Global: true}}, Limit: &quotav1.Limit{Bytes: new(int64(1))}}
	_, err := quotav1.NewQuotaAdminServiceClient(dial(t, s, t.TempDir(), "admin", "quota")).SetLimit(t.Context(), set)
	require.Equal(t, codes.Unavailable, fault.Code(err), "a certificate of another authority ends the handshake: %v", err)

	for service, addr := range s.RPC {
		conn, err := rpc.Dial("dns:///"+addr, rpc.DialOptions{Timeout: 5 * time.Second}) // no TLS at all
		if err != nil {
			continue
		}
		_, err = quotav1.NewQuotaAdminServiceClient(conn).SetLimit(t.Context(), set)
		require.Error(t, err, service)
		require.NoError(t, conn.Close())

		// A client without a certificate: TLS 1.3 tells it with the first read.
		raw, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		w := &harness.Wire{Conn: raw}
		config := s.TLS(t)
		config.InsecureSkipVerify = true // the client is the stranger here
		config.NextProtos = []string{"h2"}
		if w.TryHandshake(config) == nil {
			_ = w.Try("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
			for err == nil {
				_, err = w.TryLine()
			}
			require.ErrorContains(t, err, "certificate required", service)
		}
		w.Drop()
	}
	require.NotContains(t, s.CLI(t, "quota", "limits", "--json"), "global", "nothing was changed")
	s.Deliver(t, "alice", harness.Compose("After", "x"))
}
