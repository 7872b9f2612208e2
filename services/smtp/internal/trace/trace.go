// Package trace writes the trace header fields of a message (RFC 5321 section 4.4).
package trace

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Hop describes how a message came in.
type Hop struct {
	// Helo is what the client called itself, as yet unchecked.
	Helo string
	// Client is the client's address.
	Client netip.Addr
	// By is our host name.
	By string
	// Protocol is a transmission type (RFC 3848, RFC 6531 section 4.3), such as ESMTPSA.
	Protocol string
	// TLS is nil on an unencrypted connection.
	TLS *tls.ConnectionState
	// ID names the delivery in our log.
	ID string
	// For is the recipient if there is only one: telling several would give away blind copies.
	For  string
	Time time.Time
}

// Received is the whole field, folded, with its last CRLF.
func (h Hop) Received() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Received: from %s (%s)\r\n\tby %s with %s id %s", token(h.Helo), literal(h.Client), h.By, h.Protocol, h.ID)
	if h.TLS != nil {
		fmt.Fprintf(&b, "\r\n\t(%s %s)", tls.VersionName(h.TLS.Version), tls.CipherSuiteName(h.TLS.CipherSuite))
	}
	if h.For != "" {
		fmt.Fprintf(&b, "\r\n\tfor <%s>", h.For)
	}
	fmt.Fprintf(&b, ";\r\n\t%s\r\n", h.Time.Format(time.RFC1123Z))
	return b.String()
}

// Prefix is what final delivery puts before a message for one recipient: the envelope, which would be lost otherwise.
func Prefix(from, recipient string) []byte {
	return []byte("Return-Path: <" + from + ">\r\nDelivered-To: " + recipient + "\r\n")
}

// literal writes an address as an address literal (RFC 5321 section 4.1.3).
func literal(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "unknown"
	case a.Unmap().Is4():
		return "[" + a.Unmap().String() + "]"
	default:
		return "[IPv6:" + a.WithZone("").String() + "]"
	}
}

// token keeps what a client says of itself from leaving its place in the field.
func token(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || strings.ContainsRune("()<>;\\\"", r) {
			return -1
		}
		return r
	}, s)
	if s == "" {
		return "unknown"
	}
	return s[:min(len(s), 255)]
}
