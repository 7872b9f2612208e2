// Package notice mails the ledger's warnings to the owners of the accounts.
package notice

import (
	"bytes"
	_ "embed"
	"fmt"
	"math/big"
	"mime"
	"net/mail"
	"strings"
	"text/template"
	"time"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

//go:embed notice.txt
var text string

var body = template.Must(template.New("notice").Parse(text))

// resource is what the text says of bytes or messages.
type resource struct {
	Used, Limit string
	Percent     string
}

func newResource(used, limit int64, show func(int64) string) *resource {
	if limit == ledger.Unlimited {
		return nil
	}
	percent := "100"
	if limit > 0 {
		p := new(big.Int).Mul(big.NewInt(used), big.NewInt(100))
		percent = p.Quo(p, big.NewInt(limit)).String()
	}
	return &resource{Used: show(used), Limit: show(limit), Percent: percent}
}

// Message composes the mail of a notice (RFC 5322). It is the same each time, so that storage recognises a repetition.
func Message(n ledger.Notice, to *directoryv1.Account, from string) ([]byte, error) {
	if from == "" {
		from = "postmaster@" + to.GetDomain()
	}
	_, host, _ := strings.Cut(from, "@")
	subject := fmt.Sprintf("Your mailbox is more than %d %% full", n.Level)
	switch {
	case n.Refused:
		subject = "Your mailbox is too full for mail that came"
	case n.Level >= 100:
		subject = "Your mailbox is full"
	}
	var b bytes.Buffer
	for _, h := range [][2]string{
		{"Date", n.Created.Format(time.RFC1123Z)},
		{"From", (&mail.Address{Name: "Mail system", Address: from}).String()},
		{"To", (&mail.Address{Name: to.GetDisplayName(), Address: to.GetAddress()}).String()},
		{"Subject", mime.QEncoding.Encode("utf-8", subject)},
		{"Message-ID", "<" + n.ID() + "." + fmt.Sprint(n.Created.UnixMilli()) + "@" + host + ">"},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834 section 5
		{"Precedence", "bulk"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "8bit"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	var content strings.Builder
	err := body.Execute(&content, map[string]any{
		"Address":  to.GetAddress(),
		"Level":    n.Level,
		"Refused":  n.Refused,
		"Bytes":    newResource(n.Used.Bytes, n.Limit.Bytes, showBytes),
		"Messages": newResource(n.Used.Messages, n.Limit.Messages, func(m int64) string { return fmt.Sprint(m) }),
	})
	if err != nil {
		return nil, fmt.Errorf("compose notice: %w", err)
	}
	b.WriteString(strings.ReplaceAll(content.String(), "\n", "\r\n"))
	return b.Bytes(), nil
}

// showBytes writes a number of octets in decimal units, as the limits are meant.
func showBytes(n int64) string {
	units := []string{"bytes", "kB", "MB", "GB", "TB", "PB", "EB"}
	value, unit := float64(n), 0
	for value >= 1000 && unit < len(units)-1 {
		value /= 1000
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.2f %s", value, units[unit])
}
