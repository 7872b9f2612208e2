package server

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

// Migrate brings the schema of the database up to date, as New does, and nothing else: before an upgrade it tells whether that will
// work. The server ends no statement of it, however long it takes.
func Migrate(ctx context.Context, cfg Config) (err error) {
	db, err := cfg.database.Patient().Open(ctx, filepath.Join(cfg.Dir, "quota.db"), sqldb.Options{Service: "quota"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = ledger.New(ctx, db, ledger.Options{})
	return err
}
