package server

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/text/encoding/japanese"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/textindex"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

func textKey(s string) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Text{Text: s}}
}

func bodyKey(s string) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Body{Body: s}}
}

func headerKey(name, value string) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Header_{Header: &storagev1.SearchCriteria_Header{Name: name, Value: value}}}
}

func notKey(c *storagev1.SearchCriteria) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Not{Not: c}}
}

func allKeys(list ...*storagev1.SearchCriteria) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_AllOf{AllOf: &storagev1.SearchCriteria_List{Criteria: list}}}
}

func anyKeys(list ...*storagev1.SearchCriteria) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_AnyOf{AnyOf: &storagev1.SearchCriteria_List{Criteria: list}}}
}

// find searches the INBOX of an account.
func (h *harness) find(account string, c *storagev1.SearchCriteria) string {
	h.t.Helper()
	r, err := h.imap.Search(h.t.Context(), &storagev1.SearchRequest{AccountId: account, MailboxId: h.mailbox(account, "INBOX").GetMailboxId(), Criteria: c})
	if err != nil {
		h.t.Fatal(err)
	}
	return fmt.Sprint(ranges(r.GetUids()))
}

// indexed waits until all messages of an account's mailbox are in the index.
func (h *harness) indexed(t *testing.T, account, mailbox string) meta.MailboxKey {
	t.Helper()
	key := meta.MailboxKey{AccountID: account, MailboxID: h.mailbox(account, mailbox).GetMailboxId()}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		m, err := h.indexer.Meta.TextMark(t.Context(), key)
		gaps, gapsErr := h.indexer.Meta.TextGaps(t.Context(), key)
		if err != nil || gapsErr != nil {
			t.Fatal(err, gapsErr)
		}
		full := slices.ContainsFunc(gaps, func(g meta.TextGap) bool { return g.Messages >= textindex.SegmentDocs })
		if m.Next == m.UIDNext && !full {
			return key
		}
		if time.Now().After(deadline) {
			t.Fatalf("the messages are not in the index: %+v, %v", m, gaps)
		}
	}
}

// metric adds up the samples of a metric, those with a label of the value if it is not empty.
func (h *harness) metric(name, label string) (sum float64) {
	h.t.Helper()
	families, err := h.deps.Registerer.(*prometheus.Registry).Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != name || label != "" && (len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() != label) {
				continue
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

func japaneseMail(t *testing.T, subject, text string) string {
	t.Helper()
	encoded, err := japanese.ISO2022JP.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return "From: =?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte("山田太郎")) + "?= <yamada@example.test>\r\nSubject: =?UTF-8?B?" +
		base64.StdEncoding.EncodeToString([]byte(subject)) + "?=\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=ISO-2022-JP\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(encoded)) + "\r\n"
}

// A search finds what was written, however it is encoded, and the index answers it: no body is read.
func TestSearchIsAnsweredByTheIndex(t *testing.T) {
	h := start(t)
	messages := []string{
		mail("Invoice 2026-11", "Please pay the amount of 100 EUR until Friday."),
		japaneseMail(t, "請求書のお知らせ", "東京都千代田区の\r\n会議室でお待ちしています。ﾊﾝｶｸ"),
		mail("=?ISO-8859-1?Q?caf=E9?=", "Caf\u00e9 au lait, STRASSE"),
		"Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n" +
			"Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>Dear <b>cus</b>tomer, soft =\r\nbreak</p>\r\n--b\r\n" +
			"Content-Type: application/pdf; name=\"quarterly-report.pdf\"\r\n\r\nneedle in an attachment\r\n--b--\r\n",
	}
	if _, err := h.appendTo("bob", "INBOX", "", 0, messages...); err != nil {
		t.Fatal(err)
	}
	h.indexed(t, "bob", "INBOX")
	for _, c := range []struct {
		what     string
		criteria *storagev1.SearchCriteria
		want     string
	}{
		{"text in a subject", textKey("invoice"), "[[1 1]]"},
		{"a part of a word", textKey("nvoic"), "[[1 1]]"},
		{"two words", bodyKey("the AMOUNT"), "[[1 1]]"},
		{"not in the body", bodyKey("invoice"), "[]"},
		{"Japanese", textKey("東京都"), "[[2 2]]"},
		{"two characters", bodyKey("会議"), "[[2 2]]"},
		{"one character", textKey("区"), "[[2 2]]"},
		{"over a line break", bodyKey("千代田区の会議室"), "[[2 2]]"},
		{"an encoded subject", textKey("請求書の"), "[[2 2]]"},
		{"another width", bodyKey("ハンカク"), "[[2 2]]"},
		{"accents and case", textKey("CAFÉ"), "[[3 3]]"},
		{"without accents", headerKey("Subject", "CAFE"), "[[3 3]]"},
		{"a part of a name", headerKey("From", "田太"), "[[2 2]]"},
		{"a field of the message, not of a part", headerKey("Content-Type", "pdf"), "[]"},
		{"a field that is there", headerKey("content-transfer-encoding", ""), "[[2 2]]"},
		{"folding that makes two letters of one", bodyKey("straße"), "[[3 3]]"},
		{"HTML without tags, over a soft break", bodyKey("customer, soft break"), "[[4 4]]"},
		{"the name of an attachment", textKey("quarterly-report.pdf"), "[[4 4]]"},
		{"the inside of an attachment", textKey("needle"), "[]"},
		{"a name of a field", textKey("content-type: text/plain; charset=iso-2022-jp"), "[[2 2]]"},
		{"neither nor", allKeys(notKey(textKey("invoice")), notKey(bodyKey("会議"))), "[[3 4]]"},
		{"this or that", anyKeys(bodyKey("eur"), headerKey("From", "山田")), "[[1 2]]"},
		{"all but", notKey(textKey("quarterly")), "[[1 3]]"},
	} {
		if got := h.find("bob", c.criteria); got != c.want {
			t.Errorf("%s: found %s, want %s", c.what, got, c.want)
		}
	}
	if n := h.metric("yubin_storage_search_messages_total", "body"); n != 0 {
		t.Errorf("%v messages were read", n)
	}
	eventually(t, "the index is not behind", func() bool { // what it has seen in the queue stands until it looks again
		return h.metric("yubin_storage_index_lag_seconds", "") == 0 && h.metric("yubin_storage_index_pending_messages", "") == 0
	})
}

// vocabulary makes texts in which some needles are common, some rare.
func vocabulary(r *rand.Rand) string {
	words := []string{"invoice", "invoices", "meeting", "alice@example.com", "東京", "東京都", "会議室", "the", "report-2026", "naïve", "of", "voice"}
	var b strings.Builder
	for range 1 + r.IntN(8) {
		b.WriteString(words[min(r.IntN(len(words)), r.IntN(len(words)))])
		b.WriteString([]string{" ", "", ", ", "\r\n"}[r.IntN(4)])
	}
	fmt.Fprintf(&b, " n%d", r.IntN(300))
	return b.String()
}

// What the index answers is what reading every message answers: with segments and without, after deletions, moves and while mail comes in.
func TestIndexAnswersAsReadingDoes(t *testing.T) {
	h := start(t, "--storage-index-rate=100000")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	fill := func(n int) {
		for ; n > 0; n -= 250 {
			var messages []string
			for range min(n, 250) {
				messages = append(messages, mail(vocabulary(r), vocabulary(r)))
			}
			if _, err := h.appendTo("bob", "INBOX", "", 0, messages...); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(2100)
	key := h.indexed(t, "bob", "INBOX")
	h.expunge("bob", key.MailboxID, span(100, 300), span(1000, 1040))
	fill(30)
	h.indexed(t, "bob", "INBOX")
	queries := []*storagev1.SearchCriteria{textKey("invoice"), bodyKey("invoice"), textKey("voice"), textKey("東京"), textKey("会議"), bodyKey("会議室"), textKey("the"), bodyKey("of"),
		textKey("alice@example.com"), textKey("alice@example.test"), bodyKey("invoice, the"), textKey("n17"), notKey(textKey("meeting")), allKeys(bodyKey("report-2026"), notKey(textKey("naïve"))),
		anyKeys(headerKey("Subject", "voice"), bodyKey("都会")), textKey("京"), textKey("nowhere to be found"), headerKey("subject", "n2"),
		textKey("oic"), bodyKey("oic"), textKey("lice@exam"), textKey("eetin"), bodyKey("port-20"), textKey("ice, invo"), bodyKey("京"), bodyKey("東京都会"), textKey("NAIV"), textKey("nai\u0308ve"),
		headerKey("From", "@example"), headerKey("To", ""), headerKey("Bcc", ""), headerKey("Cc", "x"), headerKey("Message-ID", "a"), headerKey("X-None", ""), headerKey("no name", ""),
		anyKeys(headerKey("Subject", "meeting"), notKey(headerKey("Subject", "東"))), allKeys(headerKey("subject", "invoice"), textKey("voice"))}
	answers := func() (out []string) {
		for _, q := range queries {
			out = append(out, h.find("bob", q))
		}
		return out
	}
	byIndex := answers()
	if n := h.metric("yubin_storage_search_messages_total", "body"); n != 0 {
		t.Errorf("%v messages were read", n)
	}
	if n := h.metric("yubin_storage_index_segments_total", ""); n != 2 {
		t.Errorf("%v segments, want 2", n)
	}
	// In the tidy index, of which the sparse segment was dropped, and made again of what is left.
	h.expunge("bob", key.MailboxID, span(301, 800))
	tidied := answers()
	if err := h.indexer.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the index is tidy", func() bool { return h.metric("yubin_storage_index_segments_total", "") == 3 })
	afterTidy := answers()
	h.stop()
	h.run("--storage-index-text=0")
	byReading := answers()
	if n := h.metric("yubin_storage_search_messages_total", "body"); n == 0 {
		t.Error("no message was read")
	}
	for i, q := range queries {
		if tidied[i] != byReading[i] {
			t.Errorf("%v:\nthe index finds %s\nreading finds   %s", q, tidied[i], byReading[i])
		}
		if afterTidy[i] != byReading[i] {
			t.Errorf("%v:\nthe tidy index finds %s\nreading finds        %s", q, afterTidy[i], byReading[i])
		}
	}
	if byIndex[6] == tidied[6] {
		t.Error("nothing was deleted")
	}
}

// What was delivered without the index, or before a crash, is found by a look through all mailboxes.
func TestIndexCatchesUp(t *testing.T) {
	h := start(t, "--storage-index-text=0")
	for i := range 5 {
		h.mustDeliver("bob", mail(fmt.Sprint("number ", i), "text"))
	}
	h.stop()
	h.run()
	key := h.indexed(t, "bob", "INBOX")
	if got := h.find("bob", textKey("number 3")); got != "[[4 4]]" {
		t.Errorf("found %s", got)
	}
	eventually(t, "the queue is empty", func() bool {
		q, err := h.indexer.Meta.TextQueue(t.Context(), "")
		return err == nil && q.Mailboxes == 0
	})
	// A moved message has been read already.
	before := h.metric("yubin_storage_index_messages_total", "")
	if _, err := h.imap.Move(t.Context(), &storagev1.MoveRequest{AccountId: "bob", MailboxId: key.MailboxID, Uids: []*storagev1.UidRange{span(2, 3)}, ToMailbox: "Archive"}); err != nil {
		t.Fatal(err)
	}
	h.indexed(t, "bob", "Archive")
	if n := h.metric("yubin_storage_index_messages_total", "") - before; n != 0 {
		t.Errorf("%v messages were read again", n)
	}
}

// The text of a message goes with it, for good.
func TestIndexedTextGoesWithTheMessage(t *testing.T) {
	h := start(t, "--storage-retention=1h")
	h.mustDeliver("bob", mail("secret", "text"))
	h.mustDeliver("bob", mail("other", "text"))
	key := h.indexed(t, "bob", "INBOX")
	h.expunge("bob", key.MailboxID, span(1, 1))
	h.clock.Forward(2 * time.Hour)
	if err := h.reclaimer.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := h.count("SELECT COUNT(*) FROM text_contents"); n != 1 {
		t.Errorf("%d texts are left, want 1", n)
	}
	if _, err := h.admin.PurgeAccount(t.Context(), &storagev1.PurgeAccountRequest{AccountId: "bob"}); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"text_contents", "text_mailboxes", "text_segments", "text_postings", "text_queue"} {
		if n := h.count("SELECT COUNT(*) FROM " + table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
}

// A mailbox that is deleted leaves nothing in the index.
func TestIndexOfDeletedMailboxGoes(t *testing.T) {
	h := start(t)
	if err := h.create("Old"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.appendTo("bob", "Old", "", 0, mail("one", "text"), mail("two", "text")); err != nil {
		t.Fatal(err)
	}
	h.indexed(t, "bob", "Old")
	marks := h.count("SELECT COUNT(*) FROM text_mailboxes")
	if err := h.remove("Old"); err != nil {
		t.Fatal(err)
	}
	if err := h.indexer.Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := h.count("SELECT COUNT(*) FROM text_mailboxes"); n != marks-1 {
		t.Errorf("%d mailboxes are in the index, of %d before", n, marks)
	}
}

// count asks the service's database for a number.
func (h *harness) count(query string) (n int) {
	h.t.Helper()
	db := h.database()
	defer db.Close()
	err := db.Read(h.t.Context(), "count", func(tx *sqldb.Tx) error { return tx.QueryRow(h.t.Context(), query).Scan(&n) })
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// The operator has the index made anew, also one that is damaged, of an old format, or of other texts than there are.
func TestReindex(t *testing.T) {
	h := start(t)
	var messages []string
	for i := range 1100 {
		messages = append(messages, mail(fmt.Sprint("number ", i), "text"))
	}
	for part := range slices.Chunk(messages, 550) {
		if _, err := h.appendTo("bob", "INBOX", "", 0, part...); err != nil {
			t.Fatal(err)
		}
	}
	h.mustDeliver("ann", mail("number 7", "text"))
	h.indexed(t, "bob", "INBOX")
	h.indexed(t, "ann", "INBOX")
	h.change("UPDATE text_contents SET text = $1", []byte{textindex.Format, 0, 5, 9})
	h.change("UPDATE text_postings SET postings = $1", []byte{0xff})
	// Wrong texts do not make a search fail: what cannot be read of the index is read of the messages.
	if got := h.find("bob", textKey("number 17")); !strings.HasPrefix(got, "[[18 18] [171 ") {
		t.Errorf("with a damaged index, found %s", got)
	}
	stream, err := h.admin.Reindex(t.Context(), &storagev1.ReindexRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var last *storagev1.ReindexResponse
	for r := range received(t, stream.Recv) {
		last = r
	}
	if !last.GetFinished() || last.GetMessages() != 1101 || last.GetMessagesDone() != 1101 || last.GetMailboxesDone() != last.GetMailboxes() {
		t.Errorf("the last answer is %v", last)
	}
	before := h.metric("yubin_storage_search_messages_total", "body")
	if got := h.find("bob", textKey("number 17")); !strings.HasPrefix(got, "[[18 18] [171 ") {
		t.Errorf("found %s", got)
	}
	if got := h.find("ann", textKey("number 7")); got != "[[1 1]]" {
		t.Errorf("found %s", got)
	}
	if n := h.metric("yubin_storage_search_messages_total", "body"); n != before {
		t.Errorf("%v messages were read", n-before)
	}
}

// An index of another format is made anew by itself.
func TestIndexOfAnotherFormat(t *testing.T) {
	h := start(t)
	h.mustDeliver("bob", mail("number 7", "text"))
	key := h.indexed(t, "bob", "INBOX")
	h.change("UPDATE text_mailboxes SET format = 0, next_uid = 100")
	if got := h.find("bob", textKey("number 7")); got != "[[1 1]]" {
		t.Errorf("found %s", got)
	}
	if err := h.indexer.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the index is made anew", func() bool {
		m, err := h.indexer.Meta.TextMark(t.Context(), key)
		return err == nil && !m.Stale && m.Next == m.UIDNext
	})

	// That of a newer replica is left to it.
	h.change("UPDATE text_mailboxes SET format = 1000")
	h.mustDeliver("bob", mail("number 8", "text"))
	if got := h.find("bob", textKey("number 8")); got != "[[2 2]]" {
		t.Errorf("found %s", got)
	}
	if err := h.indexer.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if q, err := h.indexer.Meta.TextQueue(t.Context(), ""); err != nil || q.Mailboxes != 0 {
		t.Errorf("in the queue are %+v, %v", q, err)
	}
	if m, err := h.indexer.Meta.TextMark(t.Context(), key); err != nil || !m.Foreign || m.Stale {
		t.Errorf("the mark is %+v, %v", m, err)
	}
}

// A search that would have to read too much is refused, with a reason.
func TestSearchReadsNoMoreThanItMay(t *testing.T) {
	h := start(t, "--storage-index-text=0", "--storage-search-read=1000")
	for range 5 {
		h.mustDeliver("bob", mail("subject", strings.Repeat("text ", 100)))
	}
	request := &storagev1.SearchRequest{AccountId: "bob", MailboxId: h.mailbox("bob", "INBOX").GetMailboxId(), Criteria: bodyKey("nothing")}
	_, err := h.imap.Search(t.Context(), request)
	wantReason(t, err, rpcv1.Reason_REASON_LIMIT)
	if n := h.metric("yubin_storage_search_limited_total", ""); n != 1 {
		t.Errorf("%v searches were limited", n)
	}
	request.Criteria = headerKey("Subject", "subject") // reads none
	if r, err := h.imap.Search(t.Context(), request); err != nil || len(r.GetUids()) != 1 {
		t.Errorf("got %v, %v", r, err)
	}
}

// A message of which not all is in the index is read if that matters.
func TestSearchBeyondTheIndexedText(t *testing.T) {
	h := start(t, "--storage-index-text=1KiB")
	h.mustDeliver("bob", mail("long", strings.Repeat("text ", 1000)+"needle"))
	h.mustDeliver("bob", mail("short", "no such thing"))
	h.indexed(t, "bob", "INBOX")
	if got := h.find("bob", bodyKey("needle")); got != "[[1 1]]" {
		t.Errorf("found %s", got)
	}
	if n := h.metric("yubin_storage_search_messages_total", "body"); n != 1 {
		t.Errorf("%v messages were read, want 1", n)
	}
}

// A stream ends with what Search answers.
func TestSearchStream(t *testing.T) {
	h := start(t)
	h.mustDeliver("bob", mail("number 7", "text"))
	stream, err := h.imap.SearchStream(t.Context(), &storagev1.SearchStreamRequest{Search: &storagev1.SearchRequest{
		AccountId: "bob", MailboxId: h.mailbox("bob", "INBOX").GetMailboxId(), Criteria: textKey("number 7"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var last *storagev1.SearchStreamResponse
	for r := range received(t, stream.Recv) {
		last = r
	}
	if fmt.Sprint(ranges(last.GetResult().GetUids())) != "[[1 1]]" || last.GetProgress().GetDone() != 1 {
		t.Errorf("the last answer is %v", last)
	}
	stream, err = h.imap.SearchStream(t.Context(), &storagev1.SearchStreamRequest{Search: &storagev1.SearchRequest{AccountId: "bob", MailboxId: 99, Criteria: textKey("x")}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantReason(t, err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
}

// Two replicas at the same mailbox do not disturb each other.
func TestReplicasShareTheIndex(t *testing.T) {
	h := start(t)
	if h.url == "" {
		return // there is one
	}
	other := h.replica()
	for i := range 200 {
		(map[bool]*harness{true: h, false: other})[i%2 == 0].mustDeliver("bob", mail(fmt.Sprint("number ", i), "text"))
	}
	key := h.indexed(t, "bob", "INBOX")
	set := uidset.Set{{Start: 1, Stop: 1000}}
	texts := 0
	err := h.indexer.Meta.TextsOf(t.Context(), key, set, func(k meta.KeptText) bool {
		if k.Text != nil {
			texts++
		}
		return true
	})
	if err != nil || texts != 200 {
		t.Errorf("%d texts are kept, %v", texts, err)
	}
	for _, service := range []*harness{h, other} {
		if got := service.find("bob", textKey("number 17")); !strings.HasPrefix(got, "[[18 18] [171 1") {
			t.Errorf("found %s", got)
		}
	}
}
