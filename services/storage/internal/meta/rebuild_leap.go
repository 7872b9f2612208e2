package meta

import (
	"context"
	"math"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// LeapAccounts makes sure that nothing is given out twice after the restore of an older database: UIDs, modseqs and mailbox ids go on far
// beyond those that clients may have seen since, as after a rebuild. All messages count as changed, and what is not there as vanished. It
// goes through a page of accounts after one, and gives the last; "" at the end. Nothing else may use the database meanwhile.
func (s *Store) LeapAccounts(ctx context.Context, after string) (next string, err error) {
	var accounts []string
	err = s.read(ctx, "list_accounts", func(t *tx) error {
		return t.texts(&accounts, `SELECT account_id FROM accounts WHERE account_id > ? ORDER BY account_id`+sqldb.Limit(catalogPage), after)
	})
	for _, account := range accounts {
		if err == nil {
			err = s.change(ctx, "leap", account, func(t *tx) error { return t.leap(account) })
		}
		next = account
	}
	return next, err
}

func (t *tx) leap(account string) error {
	var boxes []*storagev1.Mailbox
	err := t.rows(func(rows *sqldb.Rows) error {
		m, err := scanMailbox(rows)
		boxes = append(boxes, m)
		return err
	}, `SELECT `+mailboxColumns+` FROM mailboxes WHERE account_id = ? ORDER BY mailbox_id`, account)
	if err != nil {
		return err
	}
	for _, m := range boxes {
		modseq, next, validity := leapt(m.GetHighestModseq(), m.GetUidNext(), m.GetUidValidity(), t.now)
		err := t.later(`UPDATE mailboxes SET highest_modseq = ?, uid_next = ?, uid_validity = ?, access_modseq = ? WHERE account_id = ? AND mailbox_id = ?`,
			modseq, next, validity, modseq, account, m.GetMailboxId())
		if err != nil {
			return err
		}
		if err := t.later(`UPDATE messages SET modseq = ? WHERE account_id = ? AND mailbox_id = ?`, modseq, account, m.GetMailboxId()); err != nil {
			return err
		}
		if err := t.buryGaps(account, m.GetMailboxId(), modseq, next); err != nil {
			return err
		}
	}
	return t.later(`UPDATE accounts SET next_mailbox_id = next_mailbox_id + ?, next_uid_validity = CASE WHEN next_uid_validity < ? THEN ? ELSE next_uid_validity END
		WHERE account_id = ?`, idGap, t.now, t.now, account)
}

// leapt gives the modseq, UIDNEXT and UIDVALIDITY with which a mailbox goes on. UIDs beyond what 32 bits hold need a new UIDVALIDITY after all.
func leapt(modseq uint64, uidNext, validity uint32, now int64) (uint64, uint32, uint32) {
	if next := int64(uidNext) + uidGap; next <= math.MaxUint32 {
		return modseq + modseqGap, uint32(next), validity
	}
	return modseq + modseqGap, uidNext, uint32(now)
}
