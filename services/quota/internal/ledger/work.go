package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// work is a transaction over accounts whose rows it has locked: it reads them, changes them in memory, and save writes what has
// changed. While an account is locked nobody else changes it, its reservations or its notices.
type work struct {
	l   *Ledger
	ctx context.Context
	tx  *sqldb.Tx

	accounts map[string]*account
	writes   sqldb.Batch // what save is to write beside the accounts
	noticed  bool
	count    int // reservations that were freed
}

// durability of a commit.
type durability func(*sqldb.DB, context.Context, string, func(*sqldb.Tx) error) error

var (
	durable durability = (*sqldb.DB).Write
	relaxed durability = (*sqldb.DB).WriteRelaxed
)

// write runs fn in a transaction. All that the ledger writes can be written twice, so a commit whose answer was lost is repeated.
func (l *Ledger) write(ctx context.Context, class string, how durability, fn func(*work) error) error {
	var w *work
	once := func() error {
		return how(l.db, ctx, class, func(tx *sqldb.Tx) error {
			w = &work{l: l, ctx: ctx, tx: tx, accounts: map[string]*account{}}
			return fn(w)
		})
	}
	err := once()
	if errors.Is(err, sqldb.ErrUnknownOutcome) && ctx.Err() == nil {
		err = once()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", class, err)
	}
	if w.noticed {
		l.opts.Noticed()
	}
	return nil
}

// lock locks and reads the rows of accounts, in the order in which all transactions do, so that two never wait for each other. What
// next adds runs in the same round trip, when all are locked.
func (w *work) lock(accounts []string, next func(*sqldb.Batch)) error {
	b := &sqldb.Batch{}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(accounts))) {
		b.Query(func(rows *sqldb.Rows) error {
			a := &account{}
			err := a.scan(rows)
			a.stored = a.row
			w.accounts[a.AccountID] = a
			return err
		}, selectAccounts+` WHERE l.account_id = ?`+w.l.forUpdate, w.l.opts.Default.Bytes, w.l.opts.Default.Messages, id)
	}
	if next != nil {
		next(b)
	}
	if err := w.tx.Batch(w.ctx, b); err != nil {
		return fmt.Errorf("lock accounts: %w", err)
	}
	return nil
}

// account gives a locked account.
func (w *work) account(id string) (*account, error) {
	if a, ok := w.accounts[id]; ok {
		return a, nil
	}
	return nil, &MissingError{Accounts: []string{id}}
}

// save writes what the transaction has changed.
func (w *work) save() error {
	for _, id := range slices.Sorted(maps.Keys(w.accounts)) {
		a := w.accounts[id]
		if a.row == a.stored {
			continue
		}
		w.writes.Exec(`UPDATE ledger SET used_bytes = ?, used_messages = ?, reserved_bytes = ?, reserved_messages = ?,
			last_sequence = ?, alarm_level = ?, alarm_rearm = ?, notices = ? WHERE account_id = ?`,
			a.Used.Bytes, a.Used.Messages, a.Reserved.Bytes, a.Reserved.Messages,
			a.sequence, a.alarm.level, a.alarm.rearm, a.notices, id)
	}
	return w.tx.Batch(w.ctx, &w.writes)
}

// free is how a query that deletes reservations ends, for freed.
const free = ` RETURNING account_id, bytes, messages`

// freed takes what a deleted reservation had from its account.
func (w *work) freed(rows *sqldb.Rows) error {
	var id string
	var n Amount
	if err := rows.Scan(&id, &n.Bytes, &n.Messages); err != nil {
		return err
	}
	w.count++
	if a, ok := w.accounts[id]; ok {
		a.Reserved = a.Reserved.minus(n)
	}
	return nil
}
