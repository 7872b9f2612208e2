package ledger

import (
	"database/sql"
	"errors"
	"maps"
	"slices"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

func affected(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func scanStrings(rows *sqldb.Rows) (out []string, err error) {
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, errors.Join(rows.Err(), rows.Close())
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
