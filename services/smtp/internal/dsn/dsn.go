// Package dsn writes delivery status notifications (RFC 3464, in the multipart/report of RFC 6522).
package dsn

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

// maxHeader is how much of the original header is returned, in octets.
const maxHeader = 64 << 10

// Recipient is one who did not get the message.
type Recipient struct {
	Address string
	// Status is an enhanced status code (RFC 3463).
	Status string
	// Diagnostic is the text that an SMTP peer would have seen.
	Diagnostic string
}

// Report is what became of a message.
type Report struct {
	ReportingMTA string
	Sender       string
	Arrival      time.Time
	// ID makes Message-ID unique.
	ID     string
	Failed []Recipient
	// Header of the original message.
	Header []byte
}

// Message is the notification, ready for delivery, with the null sender's Return-Path.
func (r Report) Message() []byte {
	boundary := rand.Text()
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <>\r\nFrom: Mail Delivery System <MAILER-DAEMON@%s>\r\nTo: <%s>\r\n", r.ReportingMTA, r.Sender)
	fmt.Fprintf(&b, "Subject: Your message was not delivered to everyone\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\n",
		r.Arrival.Format(time.RFC1123Z), r.ID, r.ReportingMTA)
	b.WriteString("Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n") // RFC 3834 section 5
	fmt.Fprintf(&b, "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=%q\r\n", boundary)
	for _, part := range []struct{ kind, content string }{
		{"text/plain; charset=utf-8", r.explanation()},
		{"message/delivery-status", r.status()},
		{"text/rfc822-headers", r.original()},
	} {
		fmt.Fprintf(&b, "\r\n--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%s", boundary, part.kind, part.content)
	}
	fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
	return b.Bytes()
}

func (r Report) explanation() string {
	var b strings.Builder
	fmt.Fprintf(&b, "This is the mail system at %s.\r\n\r\nYour message could not be delivered to:\r\n\r\n", r.ReportingMTA)
	for _, f := range r.Failed {
		fmt.Fprintf(&b, "  <%s>: %s\r\n", f.Address, f.Diagnostic)
	}
	b.WriteString("\r\nAll other recipients have it. Please send it again later to those above.\r\n")
	return b.String()
}

// status is the machine-readable part (RFC 3464 section 2).
func (r Report) status() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Reporting-MTA: dns; %s\r\nArrival-Date: %s\r\n", r.ReportingMTA, r.Arrival.Format(time.RFC1123Z))
	for _, f := range r.Failed {
		fmt.Fprintf(&b, "\r\nFinal-Recipient: rfc822; %s\r\nAction: failed\r\nStatus: %s\r\nDiagnostic-Code: smtp; 552 %s %s\r\n",
			f.Address, f.Status, f.Status, f.Diagnostic)
	}
	return b.String()
}

func (r Report) original() string {
	header := r.Header
	if len(header) > maxHeader {
		header = header[:bytes.LastIndexByte(header[:maxHeader], '\n')+1]
	}
	return string(header)
}
