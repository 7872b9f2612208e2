package meta

import (
	"database/sql"
	"errors"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// maxKeywordBytes bounds the name of one keyword.
const maxKeywordBytes = 128

// checkKeyword holds a keyword to the atom of RFC 9051 section 9.
func checkKeyword(keyword string) error {
	bad := keyword == "" || len(keyword) > maxKeywordBytes || strings.ContainsFunc(keyword, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`(){%*"\]`, r)
	})
	if bad {
		return fault.Newf(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "%q is no keyword", keyword)
	}
	return nil
}

// canonicalKeywords gives the account's spelling of keywords, sorted, each once. New ones are remembered if create is
// set, and left out otherwise.
func (t *tx) canonicalKeywords(account string, keywords []string, create bool) ([]string, error) {
	var out []string
	for _, k := range keywords {
		if err := checkKeyword(k); err != nil {
			return nil, err
		}
		folded := strings.ToLower(k)
		var name string
		err := t.row(`SELECT name FROM keywords WHERE account_id = ? AND folded = ?`, account, folded).Scan(&name)
		switch {
		case errors.Is(err, sql.ErrNoRows) && !create:
			continue
		case errors.Is(err, sql.ErrNoRows):
			name = k
			if err := t.addKeyword(account, folded, name); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func (t *tx) addKeyword(account, folded, name string) error {
	var n int
	if err := t.row(`SELECT COUNT(*) FROM keywords WHERE account_id = ?`, account).Scan(&n); err != nil {
		return err
	}
	if limit := t.store.opts.Limits.Keywords; n >= limit {
		return fault.Newf(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT, "an account can have %d keywords", limit)
	}
	_, err := t.exec(`INSERT INTO keywords (account_id, folded, name) VALUES (?, ?, ?)`, account, folded, name)
	return err
}
