package dsn

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReportCanBeRead(t *testing.T) {
	header := "Subject: Photos\r\n" + strings.Repeat("X: "+strings.Repeat("y", 70)+"\r\n", 2000)
	r := Report{
		ReportingMTA: "mx.example.test", Sender: "alice@example.test", Arrival: time.Unix(1e9, 0).UTC(), ID: "1", Header: []byte(header),
		Failed: []Recipient{{Address: "bob@example.test", Status: "5.2.2", Diagnostic: "The mailbox is full"}},
	}
	text := r.Message()
	m, err := mail.ReadMessage(bytes.NewReader(text))
	require.NoError(t, err)
	require.Equal(t, "<>", m.Header.Get("Return-Path"))
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/report", kind)
	require.Equal(t, "delivery-status", params["report-type"])
	parts := multipart.NewReader(m.Body, params["boundary"])
	var kinds, contents []string
	for {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		content, err := io.ReadAll(p)
		require.NoError(t, err)
		kinds, contents = append(kinds, p.Header.Get("Content-Type")), append(contents, string(content))
	}
	require.Equal(t, []string{"text/plain; charset=utf-8", "message/delivery-status", "text/rfc822-headers"}, kinds)
	require.Contains(t, contents[0], "<bob@example.test>: The mailbox is full")
	require.Contains(t, contents[1], "Final-Recipient: rfc822; bob@example.test\r\nAction: failed\r\nStatus: 5.2.2\r\n")
	require.True(t, strings.HasPrefix(contents[2], "Subject: Photos\r\n"))
	require.LessOrEqual(t, len(contents[2]), maxHeader)
	require.NotContains(t, strings.ReplaceAll(string(text), "\r\n", ""), "\n")
}
