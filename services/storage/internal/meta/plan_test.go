package meta_test

import (
	"flag"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/textindex"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

var largeMailbox = flag.Int("messages", 50_000, "messages of the large mailbox in the test of plans")

// smallMailbox is what the large one is compared with. Both have as many messages that are unseen, flagged, or changed lately.
const smallMailbox = 1000

// filling makes mailboxes as large as one likes. $1 is the account, $2 the number of its messages. Of 20 messages the flags are of note; modseqs
// are spread over the UIDs.
var filling = []string{
	`INSERT INTO accounts SELECT $1, 7, 7, 0, 6`,
	`INSERT INTO mailboxes SELECT $1, n, CASE n WHEN 1 THEN 'INBOX' WHEN 2 THEN 'Archive' ELSE 'box ' || n END, n,
		CASE n WHEN 1 THEN $2 + 1 ELSE 1 END, $2 + 2, CASE n WHEN 1 THEN $2 ELSE 0 END, CASE n WHEN 1 THEN 20 ELSE 0 END,
		CASE n WHEN 1 THEN 20 ELSE 0 END, CASE n WHEN 1 THEN 2000 ELSE 0 END, CASE n WHEN 1 THEN 100 * $2 ELSE 0 END, 0
		FROM generate_series(1, 6) n`,
	`INSERT INTO contents SELECT $1, md5($1 || n), 1, 'packs/1', 0, 50, 100, 0, 50, 'T' || n, 0, 10, '', '', '' FROM generate_series(1, CAST($2 AS INT)) n`,
	`INSERT INTO messages SELECT $1, 1, n, n * CAST(7919 AS BIGINT) % $2 + 2,
		CASE WHEN n % ($2 / 20) = 1 THEN 0 WHEN n % ($2 / 20) = 2 THEN 5 WHEN n % ($2 / 20) = 3 THEN 9 ELSE 1 END,
		'', 100, 0, 0, 0, md5($1 || n), '' FROM generate_series(1, CAST($2 AS INT)) n`,
	`INSERT INTO tombstones SELECT $1, 1, n, n + 4000000, n + 4000000 FROM generate_series(1, CAST($2 AS INT) / 10) n`,
	`INSERT INTO deliveries SELECT $1, 'd' || n, 'INBOX', 1, 1, n, 0 FROM generate_series(1, CAST($2 AS INT) / 10) n`,
	`INSERT INTO threads SELECT $1, sha256(CAST($1 || n AS BYTEA)), 'T' || n FROM generate_series(1, CAST($2 AS INT) / 10) n`,
	`INSERT INTO deleted_messages SELECT $1, 3, n, 'box 3', 1, 0, '', 100, 0, 0, 0, md5($1 || n), '', 1, 9000000000 FROM generate_series(1, CAST($2 AS INT) / 10) n`,
	`INSERT INTO keywords SELECT $1, 'k' || n, 'K' || n FROM generate_series(1, 20) n`,
	`INSERT INTO subscriptions SELECT $1, name FROM mailboxes WHERE account_id = $1`,
	`INSERT INTO mailbox_access SELECT $1, mailbox_id, 'viewer', 'lrswite' FROM mailboxes WHERE account_id = $1`,
	`INSERT INTO text_mailboxes SELECT $1, 1, $2 - 18, 0, 100, ` + strconv.Itoa(textindex.Format),
	`INSERT INTO text_contents SELECT $1, md5($1 || n), sha256(CAST($1 || n AS BYTEA)) FROM generate_series(1, CAST($2 AS INT)) n`,
	`INSERT INTO text_segments SELECT $1, 1, n, n * 1000 - 999, n * 1000 - 100, 1, '\x04' FROM generate_series(1, CAST($2 AS INT) / 1000) n`,
	`INSERT INTO text_postings SELECT $1, 1, chunk, n, '' FROM generate_series(0, 255) chunk, generate_series(1, CAST($2 AS INT) / 1000) n`,
}

// company is other accounts: a table of one page is rightly scanned.
var company = []string{
	`INSERT INTO accounts SELECT 'other' || n, 7, 7, 0, 6 FROM generate_series(1, 5000) n`,
	`INSERT INTO mailboxes SELECT account_id, m, 'box ' || m, m, 1, 1, 0, 0, 0, 0, 0, 0 FROM accounts, generate_series(1, 6) m WHERE account_id LIKE 'other%'`,
	`INSERT INTO subscriptions SELECT account_id, name FROM mailboxes WHERE account_id LIKE 'other%'`,
	`INSERT INTO mailbox_access SELECT account_id, m, 'friend' || g, 'lr' FROM accounts, generate_series(1, 6) m, generate_series(1, 3) g WHERE account_id LIKE 'other%'`,
	`INSERT INTO keywords SELECT account_id, 'k' || m, 'K' || m FROM accounts, generate_series(1, 6) m WHERE account_id LIKE 'other%'`,
	`INSERT INTO text_mailboxes SELECT account_id, m, 1, 0, 1, 1 FROM accounts, generate_series(1, 6) m WHERE account_id LIKE 'other%'`,
	`INSERT INTO text_segments SELECT account_id, 1, 1, 1, 1, 1, '\x04' FROM accounts WHERE account_id LIKE 'other%'`,
	`INSERT INTO text_queue SELECT account_id, m, 1, 1, 'h', 9000000000 FROM accounts, generate_series(1, 6) m WHERE account_id LIKE 'other%'`,
	`INSERT INTO packs SELECT 'packs/' || n, 1, 1, 1, 1 FROM generate_series(1, 5000) n`,
}

// What clients do all day reads an index, and as much of it in a large mailbox as in a small one.
func TestCostDoesNotGrowWithTheMailbox(t *testing.T) {
	server := postgres.Start(t)
	url := server.Database(t)
	filled := connect(t, url)
	if _, err := meta.New(t.Context(), filled, meta.Options{}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	fill(t, filled, "large", *largeMailbox)
	fill(t, filled, "small", smallMailbox)
	for _, statement := range company {
		execute(t, filled, statement)
	}
	for _, table := range []string{"accounts", "mailboxes", "contents", "messages", "tombstones", "deliveries", "threads", "deleted_messages", "keywords", "subscriptions", "packs", "mailbox_access",
		"text_mailboxes", "text_contents", "text_segments", "text_postings", "text_queue"} {
		execute(t, filled, "ANALYZE "+table)
	}
	t.Logf("%d messages were made in %v", *largeMailbox, time.Since(begun))
	plans := server.Explain(t, url)
	store, err := meta.New(t.Context(), connect(t, url), meta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	embedded := openSQLite(t)
	if _, err := meta.New(t.Context(), embedded, meta.Options{}); err != nil {
		t.Fatal(err)
	}
	plans()
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			var cost [2]cost
			for i, account := range []string{"small", "large"} {
				size := uint32([]int{smallMailbox, *largeMailbox}[i])
				begun := time.Now()
				// Often enough for the server to choose a plan for all values; all times are counted.
				for round := range uint32(8) {
					if err := op.run(t, store, account, size, size/2+10*round); err != nil {
						t.Fatal(err)
					}
				}
				took := time.Since(begun)
				for _, p := range plans() {
					cost[i].add(t, p)
					if i == 0 {
						checkEmbedded(t, embedded, p.Query)
					}
				}
				t.Logf("%s: %d statements, %d blocks, %.0f rows, %v", account, cost[i].statements, cost[i].blocks, cost[i].rows, took)
			}
			small, large := cost[0], cost[1]
			if small.statements == 0 || large.statements > small.statements+10 {
				t.Errorf("%d statements in the large mailbox, %d in the small one", large.statements, small.statements)
			}
			if most := bounded(op.name); most > 0 {
				if large.rows > most {
					t.Errorf("%.0f rows are read, want at most %.0f", large.rows, most)
				}
				return
			}
			if large.blocks > 2*small.blocks+50 || large.rows > 1.2*small.rows+10 {
				t.Errorf("the large mailbox costs %d blocks and %.0f rows, the small one %d and %.0f", large.blocks, large.rows, small.blocks, small.rows)
			}
		})
	}
}

func fill(t *testing.T, db *sqldb.DB, account string, messages int) {
	t.Helper()
	for _, statement := range filling {
		args := []any{account, messages}
		if !strings.Contains(statement, "$2") {
			args = args[:1]
		}
		execute(t, db, statement, args...)
	}
}

func execute(t *testing.T, db *sqldb.DB, statement string, args ...any) {
	t.Helper()
	err := db.Write(t.Context(), "fill", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), statement, args...)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// cost of an operation.
type cost struct {
	statements, blocks int
	rows               float64
}

func (c *cost) add(t *testing.T, p postgres.Plan) {
	t.Helper()
	c.statements++
	c.blocks += p.Blocks()
	p.Walk(func(n postgres.Node) {
		if n.Relation != "" || n.Index != "" {
			c.rows += (n.Rows + n.Removed) * n.Loops
		}
		if strings.Contains(n.Type, "Seq Scan") && n.Relation != "jobs" {
			t.Errorf("scan of %s: %s", n.Relation, p.Query)
		}
	})
}

// checkEmbedded looks whether SQLite reads an index for a statement too.
func checkEmbedded(t *testing.T, db *sqldb.DB, query string) {
	t.Helper()
	query = placeholder.ReplaceAllString(strings.ReplaceAll(query, " FOR UPDATE", ""), "1")
	err := db.Read(t.Context(), "explain", func(tx *sqldb.Tx) error {
		rows, err := tx.Query(t.Context(), "EXPLAIN QUERY PLAN "+query)
		if err != nil {
			return err
		}
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				return err
			}
			if strings.HasPrefix(detail, "SCAN ") && detail != "SCAN added" && detail != "SCAN granted" && !strings.HasPrefix(detail, "SCAN CONSTANT ROW") {
				t.Errorf("SQLite: %s: %s", detail, query)
			}
		}
		return rows.Err()
	})
	if err != nil {
		t.Errorf("SQLite: %v: %s", err, query)
	}
}

var placeholder = regexp.MustCompile(`\$\d+`)

// viewer is somebody with whom all mailboxes are shared.
var viewer = meta.Actor{AccountID: "viewer", Domain: "example.test"}

// operations on the INBOX, of id 1, of an account; at is a UID in the middle.
var operations = []struct {
	name string
	run  func(t *testing.T, s *meta.Store, account string, size, at uint32) error
}{
	{"select", func(t *testing.T, s *meta.Store, account string, _, _ uint32) error {
		_, err := s.Mailbox(t.Context(), account, 1)
		return err
	}},
	{"status of all mailboxes", func(t *testing.T, s *meta.Store, account string, _, _ uint32) error {
		_, _, err := s.ListMailboxes(t.Context(), account)
		return err
	}},
	{"sync since a modseq", func(t *testing.T, s *meta.Store, account string, size, _ uint32) error {
		d, err := s.Sync(t.Context(), account, 1, uint64(size)-18, 0)
		if err == nil && len(d.Changed) != 19 {
			err = fmt.Errorf("%d messages have changed", len(d.Changed))
		}
		return err
	}},
	{"size of a sync", func(t *testing.T, s *meta.Store, account string, size, _ uint32) error {
		_, _, err := s.SyncSize(t.Context(), account, 1, uint64(size)-18)
		return err
	}},
	{"list 100 messages", func(t *testing.T, s *meta.Store, account string, _, at uint32) error {
		page, _, err := s.Messages(t.Context(), account, 1, uidset.Set{{Start: at, Stop: at + 99}}, 0, meta.Wanted{Summary: true})
		if err == nil && len(page) != 100 {
			err = fmt.Errorf("%d messages", len(page))
		}
		return err
	}},
	{"list messages here and there", func(t *testing.T, s *meta.Store, account string, size, at uint32) error {
		page, _, err := s.Messages(t.Context(), account, 1, uidset.Of(3, 9, size/4, at, at+2, size-5), 0, meta.Wanted{Summary: true})
		if err == nil && len(page) != 6 {
			err = fmt.Errorf("%d messages", len(page))
		}
		return err
	}},
	{"search unseen", mark(meta.MarkUnseen)},
	{"search flagged", mark(meta.MarkFlagged)},
	{"search deleted", mark(meta.MarkDeleted)},
	{"change flags", func(t *testing.T, s *meta.Store, account string, _, at uint32) error {
		out, err := s.StoreFlags(t.Context(), account, 1, uidset.Of(at, at+1, at+2), meta.FlagChange{
			Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Flags: uint32(storagev1.Flag_FLAG_ANSWERED), Keywords: []string{"k1"},
		})
		if err == nil && len(out.States) != 3 {
			err = fmt.Errorf("%d messages were changed", len(out.States))
		}
		return err
	}},
	{"expunge few", func(t *testing.T, s *meta.Store, account string, _, at uint32) error {
		_, err := s.StoreFlags(t.Context(), account, 1, uidset.Of(at, at+1), meta.FlagChange{
			Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Flags: uint32(storagev1.Flag_FLAG_DELETED),
		})
		if err != nil {
			return err
		}
		gone, _, err := s.Expunge(t.Context(), account, 1, uidset.All)
		if err == nil && !gone.Contains(at) {
			err = fmt.Errorf("%v went", gone)
		}
		return err
	}},
	{"move", func(t *testing.T, s *meta.Store, account string, _, at uint32) error {
		_, err := s.Move(t.Context(), account, 1, uidset.Of(at+3, at+4), "Archive")
		return err
	}},
	{"copy", func(t *testing.T, s *meta.Store, account string, _, at uint32) error {
		_, err := s.Copy(t.Context(), account, 1, uidset.Of(at+5, at+6), "Archive", meta.Reserved{ID: "r", Bytes: 1000, Messages: 2})
		return err
	}},
	{"deliver", func(t *testing.T, s *meta.Store, account string, _, at uint32) error {
		c, err := meta.NewContent(fmt.Sprint("new", account, at), &mailv1.Structure{
			Root: &mailv1.Part{}, MessageId: fmt.Sprint(at), References: []string{"a", "b"},
		}, nil)
		if err != nil {
			return err
		}
		c.Location = body.Location{Object: fmt.Sprint("packs/", account, at), Stored: 10, Size: 10}
		u := &meta.Unit{Rows: []*meta.Row{{AccountID: account, Mailbox: "INBOX", Content: c, DeliveryID: fmt.Sprint("new", at), Keywords: []string{"k2"}}}}
		if err := s.Insert(t.Context(), []*meta.Unit{u}); err != nil {
			return err
		}
		return u.Err
	}},
	{"list 100 messages of somebody else", func(t *testing.T, s *meta.Store, account string, _, at uint32) error {
		_, _, err := s.As(viewer).Messages(t.Context(), account, 1, uidset.Set{{Start: at, Stop: at + 99}}, 0, meta.Wanted{Summary: true})
		return err
	}},
	{"change flags for somebody else", func(t *testing.T, s *meta.Store, account string, _, at uint32) error {
		_, err := s.As(viewer).StoreFlags(t.Context(), account, 1, uidset.Of(at+7), meta.FlagChange{
			Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Flags: uint32(storagev1.Flag_FLAG_ANSWERED),
		})
		return err
	}},
	{"list what others share", func(t *testing.T, s *meta.Store, _ string, _, _ uint32) error {
		list, err := s.As(viewer).SharedMailboxes(t.Context())
		if err == nil && len(list) != 2 {
			err = fmt.Errorf("%d accounts", len(list))
		}
		return err
	}},
	{"read and change a list", func(t *testing.T, s *meta.Store, account string, _, at uint32) error {
		if _, err := s.Acl(t.Context(), account, "INBOX"); err != nil {
			return err
		}
		return s.SetAcl(t.Context(), account, "INBOX", storagev1.SetAclRequest_OPERATION_SET, meta.Grant{Grantee: "once", Rights: meta.Rights(at%8 + 1)})
	}},
	{"deliver by somebody else", func(t *testing.T, s *meta.Store, account string, _, at uint32) error {
		c, err := meta.NewContent(fmt.Sprint("shared", account, at), &mailv1.Structure{Root: &mailv1.Part{}, MessageId: fmt.Sprint(at)}, nil)
		if err != nil {
			return err
		}
		c.Location = body.Location{Object: fmt.Sprint("packs/shared", account, at), Stored: 10, Size: 10}
		u := &meta.Unit{Rows: []*meta.Row{{AccountID: account, Mailbox: "INBOX", Content: c, Actor: viewer}}}
		if err := s.Insert(t.Context(), []*meta.Unit{u}); err != nil {
			return err
		}
		return u.Err
	}},
	{"move from one account to another", func(t *testing.T, s *meta.Store, account string, _, at uint32) error {
		to := map[string]string{"small": "large", "large": "small"}[account]
		_, err := s.Transfer(t.Context(), meta.Transfer{
			AccountID: account, MailboxID: 1, UIDs: uidset.Of(at+8, at+9), ToAccountID: to, ToMailbox: "Archive", Move: true,
		}, meta.Reserved{ID: "r", Bytes: 1000, Messages: 2})
		return err
	}},
	{"mark of the text index", func(t *testing.T, s *meta.Store, account string, size, _ uint32) error {
		m, err := s.TextMark(t.Context(), inbox(account))
		if err == nil && m.Next != size-18 {
			err = fmt.Errorf("the mark is %+v", m)
		}
		return err
	}},
	{"messages that are not indexed", func(t *testing.T, s *meta.Store, account string, size, _ uint32) error {
		_, last, err := s.Textless(t.Context(), inbox(account), meta.TextMark{Next: size - 18})
		if err == nil && last < size {
			err = fmt.Errorf("the last is %d", last)
		}
		return err
	}},
	{"keep texts", func(t *testing.T, s *meta.Store, account string, size, _ uint32) error {
		_, err := s.KeepTexts(t.Context(), inbox(account), meta.TextMark{Next: size - 18}, size-18, map[string][]byte{"new": {1}})
		return err
	}},
	{"texts of 100 messages", func(t *testing.T, s *meta.Store, account string, _, at uint32) error {
		return s.TextsOf(t.Context(), inbox(account), uidset.Set{{Start: at, Stop: at + 99}}, func(meta.KeptText) bool { return true })
	}},
	{textBehind, func(t *testing.T, s *meta.Store, account string, _, _ uint32) error {
		_, _, _, err := s.FindTextBehind(t.Context(), inbox(account))
		return err
	}},
	{"queue of mailboxes to index", func(t *testing.T, s *meta.Store, _ string, _, _ uint32) error {
		_, _, err := s.ClaimText(t.Context(), "h", time.Minute)
		return err
	}},
	{textLookup, func(t *testing.T, s *meta.Store, account string, size, _ uint32) error {
		_, covered, _, err := s.TextLookup(t.Context(), inbox(account), []textindex.Query{{All: []string{"abc", "bcd"}}})
		if err == nil && len(covered) != int(size/1000) {
			err = fmt.Errorf("%d segments", len(covered))
		}
		return err
	}},
	{"pending events", func(t *testing.T, s *meta.Store, _ string, _, _ uint32) error {
		_, err := s.PendingEvents(t.Context(), "", 100)
		return err
	}},
}

// Operations that read more rows of a larger mailbox, but no more than so many in the rounds of the test.
const (
	textLookup = "look up texts"
	textBehind = "mailboxes that are behind"
)

func bounded(op string) float64 {
	switch op {
	case textLookup: // a row of each segment, and one for each term
		return float64(8 * 4 * max(*largeMailbox/1000, 1))
	case textBehind: // a page of mailboxes
		return 8 * 2 * 1000
	}
	return 0
}

func inbox(account string) meta.MailboxKey { return meta.MailboxKey{AccountID: account, MailboxID: 1} }

func mark(m meta.Mark) func(*testing.T, *meta.Store, string, uint32, uint32) error {
	return func(t *testing.T, s *meta.Store, account string, _, _ uint32) error {
		uids, few, err := s.Marked(t.Context(), account, 1, m)
		if err == nil && (!few || uids.Len() != 20) {
			err = fmt.Errorf("found %v", uids)
		}
		return err
	}
}
