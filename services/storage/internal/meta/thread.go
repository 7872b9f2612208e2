package meta

import (
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
)

// threadSum stands for a message id with a base subject.
type threadSum [16]byte

// threadKey leads to a thread of an account.
type threadKey struct {
	account string
	hash    threadSum
}

// threads are what is known to lead to a thread, and those that a transaction adds.
type threads map[threadKey]string

// threadSums gives what leads to the thread of a message, the nearest first. Messages are of one thread
// if they share a message id, as their own or a reference, and the base subject (RFC 8474 section 5.2 leaves it to the
// server, RFC 8621 section 3 recommends this).
func threadSums(s *mailv1.Structure) []threadSum {
	var ids []string
	if s.GetMessageId() != "" {
		ids = append(ids, s.GetMessageId())
	}
	for _, reference := range slices.Backward(s.GetReferences()) {
		if !slices.Contains(ids, reference) {
			ids = append(ids, reference)
		}
	}
	hashes := make([]threadSum, len(ids))
	for i, id := range ids {
		hashes[i] = threadSum(threadHash(id, s.GetBaseSubject()))
	}
	return hashes
}

func threadHash(messageID, baseSubject string) []byte {
	sum := sha256.Sum256([]byte(messageID + "\x00" + strings.ToLower(baseSubject)))
	return sum[:16]
}

// threadsAtOnce are the numbers of hashes that one query looks for: few, so that few statements are prepared.
var threadsAtOnce = []int{1, 2, 4, 8, 16, 32}

// find adds queries to a batch that read the threads to which hashes lead.
func (h threads) find(b *queue, account string, hashes []threadSum) {
	scan := func(rows *sqldb.Rows) error {
		var hash []byte
		var id string
		if err := rows.Scan(&hash, &id); err != nil {
			return err
		}
		h[threadKey{account, threadSum(hash)}] = id
		return nil
	}
	for some := range slices.Chunk(hashes, threadsAtOnce[len(threadsAtOnce)-1]) {
		i, _ := slices.BinarySearch(threadsAtOnce, len(some))
		args := make([]any, 0, 1+threadsAtOnce[i])
		args = append(args, account)
		for k := range threadsAtOnce[i] {
			args = append(args, some[min(k, len(some)-1)][:])
		}
		b.Query(scan, threadQueries[i], args...)
	}
}

var threadQueries = func() []string {
	var out []string
	for _, n := range threadsAtOnce {
		out = append(out, `SELECT hash, thread_id FROM threads WHERE account_id = ? AND hash IN (?`+strings.Repeat(`, ?`, n-1)+`)`)
	}
	return out
}()

// thread gives the thread of a message of an account, and remembers what leads to it. own is the thread if there is none yet.
func (t *tx) thread(known threads, account string, hashes []threadSum, own string) (string, error) {
	id, missing := own, hashes
	for i, hash := range hashes {
		if found, ok := known[threadKey{account, hash}]; ok {
			id, missing = found, hashes[:i] // what is older was remembered with this one
			break
		}
	}
	for _, hash := range missing {
		known[threadKey{account, hash}] = id
		err := t.later(`INSERT INTO threads (account_id, hash, thread_id) VALUES (?, ?, ?) ON CONFLICT (account_id, hash) DO NOTHING`, account, hash[:], id)
		if err != nil {
			return "", err
		}
	}
	return id, nil
}
