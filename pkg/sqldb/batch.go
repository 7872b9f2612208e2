package sqldb

import (
	"context"
	"errors"
)

// Batch is a list of statements that a transaction runs in order, in one round trip where the database can.
type Batch struct {
	items []item
}

// item is a statement of a batch and where its outcome goes.
type item struct {
	query string
	args  []any
	count *int64
	scan  func(*Rows) error
}

// Exec adds a statement that gives no rows.
func (b *Batch) Exec(query string, args ...any) {
	b.items = append(b.items, item{query: query, args: args})
}

// ExecCount is Exec that sets n to the number of rows it has changed.
func (b *Batch) ExecCount(n *int64, query string, args ...any) {
	b.items = append(b.items, item{query: query, args: args, count: n})
}

// Query adds a statement that gives rows. scan is called for each row, and only scans it.
func (b *Batch) Query(scan func(*Rows) error, query string, args ...any) {
	b.items = append(b.items, item{query: query, args: args, scan: scan})
}

// Len is the number of statements.
func (b *Batch) Len() int { return len(b.items) }

// Batch runs the statements of b. If one fails its error is returned, and those after it are not run.
func (tx *Tx) Batch(ctx context.Context, b *Batch) error {
	if err := tx.spend(len(b.items)); err != nil {
		return err
	}
	if len(b.items) == 0 {
		return nil
	}
	items := make([]item, len(b.items))
	for i, it := range b.items {
		it.query = tx.binds.rebind(it.query)
		items[i] = it
	}
	return tx.note(tx.on.batch(ctx, items, func(i int, affected int64, rows cursor) error {
		tx.seen = true
		switch it := items[i]; {
		case it.scan != nil:
			return each(&Rows{cursor: rows, tx: tx}, it.scan)
		case it.count != nil:
			*it.count = affected
		}
		return nil
	}))
}

// each calls scan for every row and closes the rows.
func each(rows *Rows, scan func(*Rows) error) error {
	for rows.Next() {
		if err := scan(rows); err != nil {
			return errors.Join(err, rows.Close())
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}
