package meta

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

func (t *tx) subscribe(account, name string) error {
	return t.later(`INSERT INTO subscriptions (account_id, name) VALUES (?, ?) ON CONFLICT (account_id, name) DO NOTHING`, account, name)
}

// SetSubscribed adds or removes a subscription. The mailbox need not exist (RFC 9051 section 6.3.7). The names an
// account can be subscribed to are bounded by twice the limit of mailboxes.
func (s *Store) SetSubscribed(ctx context.Context, account, name string, subscribed bool) error {
	return s.write(ctx, "subscribe", func(t *tx) error {
		if err := t.openAccount(account); err != nil {
			return err
		}
		if !subscribed {
			return t.later(`DELETE FROM subscriptions WHERE account_id = ? AND name = ?`, account, name)
		}
		var n int
		if err := t.row(`SELECT COUNT(*) FROM subscriptions WHERE account_id = ?`, account).Scan(&n); err != nil {
			return err
		}
		if n >= 2*t.store.opts.Limits.Mailboxes {
			return fault.New(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT, "the account has too many subscriptions")
		}
		return t.subscribe(account, name)
	})
}

// compareNames orders mailbox names: INBOX first, then by octets.
func compareNames(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == names.Inbox:
		return -1
	case b == names.Inbox:
		return 1
	}
	return strings.Compare(a, b)
}
