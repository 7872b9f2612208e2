package meta

import (
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
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

// vocabulary is an account's keywords, in their spelling of the first use, by how they are compared.
type vocabulary map[string]string

// learn adds a query to a batch that reads the keywords of an account; there are few.
func (v vocabulary) learn(b *queue, account string) {
	b.Query(func(rows *sqldb.Rows) error {
		var folded, name string
		err := rows.Scan(&folded, &name)
		v[folded] = name
		return err
	}, `SELECT folded, name FROM keywords WHERE account_id = ?`, account)
}

// canonicalKeywords gives the account's spelling of keywords, sorted, each once. New ones are remembered if create is
// set, and left out otherwise.
func (t *tx) canonicalKeywords(account string, known vocabulary, keywords []string, create bool) ([]string, error) {
	var out []string
	for _, k := range keywords {
		if err := checkKeyword(k); err != nil {
			return nil, err
		}
		folded := strings.ToLower(k)
		name, ok := known[folded]
		if !ok {
			if !create {
				continue
			}
			if limit := t.store.opts.Limits.Keywords; len(known) >= limit {
				return nil, fault.Newf(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT, "an account can have %d keywords", limit)
			}
			if err := t.later(`INSERT INTO keywords (account_id, folded, name) VALUES (?, ?, ?)`, account, folded, k); err != nil {
				return nil, err
			}
			known[folded], name = k, k
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
