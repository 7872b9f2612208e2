package meta

import (
	"slices"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// forUpdate ends a SELECT whose rows stay locked to the end of the transaction, where there are several writers at a time.
func (t *tx) forUpdate() string { return t.store.db.Dialect().ForUpdate }

// lockAccounts makes the transaction the only one that changes the accounts, from its next statement to its end. Every transaction that
// changes something of an account does this first, and in order of account id: then all that is read is as it
// will be at the commit, and no two transactions wait for each other. Accounts that do not exist are left out.
func (t *tx) lockAccounts(accounts []string) error {
	if t.forUpdate() == "" {
		return nil
	}
	accounts = slices.Clone(accounts)
	slices.Sort(accounts)
	for _, account := range slices.Compact(accounts) {
		t.findAccount(&t.queue, account, func() {})
	}
	return nil
}

// findAccount adds a query to a batch that locks an account, and calls found if there is one.
func (t *tx) findAccount(b *queue, account string, found func()) {
	b.Query(func(*sqldb.Rows) error {
		found()
		return nil
	}, `SELECT account_id FROM accounts WHERE account_id = ?`+t.forUpdate(), account)
}

// Jobs that one replica does at a time.
const (
	jobPurge      = "purge_expired"
	jobDeliveries = "forget_deliveries"
	jobRetention  = "shorten_retention"
)

// claim tells whether this transaction may do a job; else another replica is at it. state is a number that the job keeps.
func (t *tx) claim(job string) (claimed bool, state int64, err error) {
	clause := t.forUpdate()
	if clause != "" {
		clause += " SKIP LOCKED"
	}
	err = t.rows(func(rows *sqldb.Rows) error {
		claimed = true
		return rows.Scan(&state)
	}, `SELECT state FROM jobs WHERE name = ?`+clause, job)
	return claimed, state, err
}
