package trace

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReceived(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	hop := Hop{
		Helo: "peer.example", Client: netip.MustParseAddr("192.0.2.1"), By: "mx.example.test", Protocol: "ESMTPS", ID: "abc",
		TLS: &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}, For: "alice@example.test", Time: now,
	}
	require.Equal(t, "Received: from peer.example ([192.0.2.1])\r\n\tby mx.example.test with ESMTPS id abc\r\n"+
		"\t(TLS 1.3 TLS_AES_128_GCM_SHA256)\r\n\tfor <alice@example.test>;\r\n\tSun, 01 Mar 2026 12:00:00 +0000\r\n", hop.Received())
	hop = Hop{Helo: "x", Client: netip.MustParseAddr("2001:db8::1"), By: "mx", Protocol: "ESMTP", ID: "1", Time: now}
	require.Contains(t, hop.Received(), "([IPv6:2001:db8::1])")
	require.NotContains(t, hop.Received(), "for <")
}

func TestAClientCannotAddFields(t *testing.T) {
	for _, helo := range []string{"a\r\nX: y", "a (b) c", "a;b", "", strings.Repeat("x", 5000)} {
		field := Hop{Helo: helo, By: "mx", Protocol: "ESMTP", ID: "1"}.Received()
		require.Less(t, len(field), 500)
		for i, line := range strings.Split(strings.TrimSuffix(field, "\r\n"), "\r\n") {
			require.Equal(t, i > 0, strings.HasPrefix(line, "\t"), "%q", line)
		}
	}
}
