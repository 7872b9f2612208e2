package meta

import (
	"crypto/sha256"
	"database/sql"
	"errors"
	"slices"
	"strings"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
)

// thread finds the thread of a message in an account, and remembers the ids that lead to it. Messages are of one thread
// if they share a message id, as their own or a reference, and the base subject (RFC 8474 section 5.2 leaves it to the
// server, RFC 8621 section 3 recommends this). own is the thread if there is none yet.
func (t *tx) thread(account string, s *mailv1.Structure, own string) (string, error) {
	var ids []string // nearest first
	if s.GetMessageId() != "" {
		ids = append(ids, s.GetMessageId())
	}
	for _, reference := range slices.Backward(s.GetReferences()) {
		if !slices.Contains(ids, reference) {
			ids = append(ids, reference)
		}
	}
	id, missing := own, [][]byte(nil)
	for _, messageID := range ids {
		hash := threadHash(messageID, s.GetBaseSubject())
		err := t.row(`SELECT thread_id FROM threads WHERE account_id = ? AND hash = ?`, account, hash).Scan(&id)
		if err == nil {
			break // what is older was remembered with this one
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return "", err
		}
		missing = append(missing, hash)
	}
	for _, hash := range missing {
		_, err := t.exec(`INSERT INTO threads (account_id, hash, thread_id) VALUES (?, ?, ?) ON CONFLICT (account_id, hash) DO NOTHING`, account, hash, id)
		if err != nil {
			return "", err
		}
	}
	return id, nil
}

func threadHash(messageID, baseSubject string) []byte {
	sum := sha256.Sum256([]byte(messageID + "\x00" + strings.ToLower(baseSubject)))
	return sum[:16]
}
