package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/directory/internal/throttle"
)

// loginEventsBatch bounds how many events are read at a time.
const loginEventsBatch = 1000

// RecordLogins implements throttle.Log. It does not wait for the disk: a loss of power forgives some failures.
func (s *Store) RecordLogins(ctx context.Context, replica string, events []throttle.Event) error {
	b := &sqldb.Batch{}
	for _, e := range events {
		ip := ""
		if e.IP.IsValid() {
			ip = e.IP.String()
		}
		b.Exec(`INSERT INTO login_events (at, id, replica, account, ip, success) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (at, id) DO NOTHING`,
			e.At.UnixMilli(), rand.Text(), replica, hex.EncodeToString(e.Account[:]), ip, e.Success)
	}
	err := s.db.WriteRelaxed(ctx, "record_logins", func(tx *sqldb.Tx) error { return tx.Batch(ctx, b) })
	if err != nil {
		return fmt.Errorf("record logins: %w", err)
	}
	return nil
}

// Logins implements throttle.Log.
func (s *Store) Logins(ctx context.Context, replica string, from time.Time, visit func(id string, e throttle.Event)) error {
	at, id := from.UnixMilli(), ""
	for {
		count := 0
		err := s.db.ReadOne(ctx, "logins", func(tx *sqldb.Tx) error {
			b := &sqldb.Batch{}
			b.Query(func(rows *sqldb.Rows) error {
				var other, account, ip string
				var e throttle.Event
				if err := rows.Scan(&at, &id, &other, &account, &ip, &e.Success); err != nil {
					return err
				}
				count++
				_, err := hex.Decode(e.Account[:], []byte(account))
				if ip != "" && err == nil {
					e.IP, err = netip.ParseAddr(ip)
				}
				if other != replica && err == nil {
					e.At = time.UnixMilli(at)
					visit(id, e)
				}
				return err
			}, `SELECT at, id, replica, account, ip, success FROM login_events WHERE (at, id) > (?, ?) ORDER BY at, id`+sqldb.Limit(loginEventsBatch), at, id)
			return tx.Batch(ctx, b)
		})
		if err != nil {
			return fmt.Errorf("read logins: %w", err)
		}
		if count < loginEventsBatch {
			return nil
		}
	}
}

// ForgetLogins implements throttle.Log.
func (s *Store) ForgetLogins(ctx context.Context, before time.Time) error {
	err := s.db.WriteRelaxed(ctx, "forget_logins", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM login_events WHERE at < ?`, before.UnixMilli())
		return err
	})
	if err != nil {
		return errors.Join(errors.New("forget logins"), err)
	}
	return nil
}

var _ throttle.Log = (*Store)(nil)
