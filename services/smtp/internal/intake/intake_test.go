package intake

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

var generous = Limits{Message: 1 << 20, Header: 1 << 16}

func TestRead(t *testing.T) {
	for name, tt := range map[string]struct {
		in           string
		limits       Limits
		header, body string
		err          error
	}{
		"header and body":       {in: "A: b\r\n\r\nHi\r\n", header: "A: b\r\n\r\n", body: "Hi\r\n"},
		"header only":           {in: "A: b\r\n", header: "A: b\r\n"},
		"body only":             {in: "\r\nHi\r\n", header: "\r\n", body: "Hi\r\n"},
		"nothing":               {},
		"folded":                {in: "A: b\r\n c\r\n\r\n", header: "A: b\r\n c\r\n\r\n"},
		"bare LF in header":     {in: "A: b\nB: c\r\n\r\n", err: ErrBareLineEnd},
		"bare LF in body":       {in: "A: b\r\n\r\nx\n.\r\n", err: ErrBareLineEnd},
		"bare CR in body":       {in: "A: b\r\n\r\nx\ry\r\n", err: ErrBareLineEnd},
		"CR CR LF":              {in: "A: b\r\n\r\nx\r\r\n", err: ErrBareLineEnd},
		"CR at the end":         {in: "A: b\r\n\r\nx\r", err: ErrBareLineEnd},
		"header over the limit": {in: "A: 0123456789\r\n\r\n", limits: Limits{Message: 100, Header: 10}, err: ErrHeaderTooLarge},
		"body over the limit":   {in: "A: b\r\n\r\n0123456789\r\n", limits: Limits{Message: 12, Header: 10}, err: ErrTooLarge},
		"exactly the limit":     {in: "A: b\r\n\r\n01\r\n", limits: Limits{Message: 12, Header: 10}, header: "A: b\r\n\r\n", body: "01\r\n"},
		"a line that fills the buffer before CR LF": {
			in:     "A: " + strings.Repeat("x", 16<<10-3) + "\r\n\r\nHi\r\n",
			header: "A: " + strings.Repeat("x", 16<<10-3) + "\r\n\r\n", body: "Hi\r\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.limits == (Limits{}) {
				tt.limits = generous
			}
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				header, body, err := readAll(r, tt.limits)
				if tt.err != nil {
					require.ErrorIs(t, err, tt.err)
					continue
				}
				require.NoError(t, err)
				require.Equal(t, tt.header, header)
				require.Equal(t, tt.body, body)
			}
		})
	}
}

func TestConnectionErrorsPassThrough(t *testing.T) {
	gone := errors.New("gone")
	_, _, err := readAll(io.MultiReader(strings.NewReader("A: b\r\n\r\nHi"), iotest.ErrReader(gone)), generous)
	require.ErrorIs(t, err, gone)
	_, _, err = readAll(io.MultiReader(strings.NewReader("A: b\r\n"), iotest.ErrReader(gone)), generous)
	require.ErrorIs(t, err, gone)
}

func readAll(r io.Reader, limits Limits) (header, body string, err error) {
	m, err := Read(r, limits)
	if err != nil {
		return "", "", err
	}
	b, err := io.ReadAll(m.Body)
	return string(m.Header), string(b), err
}

func TestFields(t *testing.T) {
	m := &Message{Header: []byte("Received: a\r\nDelivered-To: Alice@example.test\r\nReceived: b\r\n\tc\r\nSubject: x\r\n\r\n")}
	require.Equal(t, 2, m.Count("Received"))
	require.True(t, m.DeliveredTo("alice@example.test"))
	require.False(t, m.DeliveredTo("bob@example.test"))
	require.Equal(t, 1, m.Count("subject"))
	require.Zero(t, m.Count("Date"))
}

func TestAuthors(t *testing.T) {
	m := &Message{Header: []byte("From: Alice <alice@example.test>, bob@example.test\r\nSender: carol@example.test\r\n\r\n")}
	require.Equal(t, []string{"alice@example.test", "bob@example.test", "carol@example.test"}, m.Authors())
	require.Empty(t, (&Message{Header: []byte("Subject: x\r\n\r\n")}).Authors())
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("A: b\r\n\r\nHi\r\n"))
	f.Add([]byte("\r\r\n\n.\r\n"))
	f.Add([]byte("From: a@b, =?x?=\r\nReceived: x\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		limits := Limits{Message: 4096, Header: 1024}
		m, err := Read(bytes.NewReader(in), limits)
		if err != nil {
			return
		}
		_, _, _ = m.Count("Received"), m.DeliveredTo("a@b"), m.Authors()
		body, err := io.ReadAll(m.Body)
		if err != nil {
			return
		}
		if got := append(bytes.Clone(m.Header), body...); !bytes.Equal(got, in) {
			t.Fatalf("accepted %q as %q", in, got)
		}
		if rest := strings.ReplaceAll(string(in), "\r\n", ""); strings.ContainsAny(rest, "\r\n") {
			t.Fatalf("accepted bare line end in %q", in)
		}
		if len(in) > int(limits.Message) || len(m.Header) > limits.Header {
			t.Fatalf("accepted %d octets, header %d", len(in), len(m.Header))
		}
	})
}
