package server

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

var indexMessages = flag.Int("index-messages", 100_000, "messages of the mailbox that is searched")

// writer makes mail as people write it: words come as often as words do (Zipf), with headers that hops have added.
type writer struct {
	r     *rand.Rand
	zipf  *rand.Zipf
	words []string
}

func newWriter() *writer {
	r := rand.New(rand.NewPCG(1, 2))
	w := &writer{r: r, zipf: rand.NewZipf(r, 1.2, 8, 49_999)}
	syllables := strings.Fields("ta re mi no ka sen dor ing er ver al con pre un ly tion ter est ance ow ell ish art om gra bel")
	seen := map[string]bool{}
	for len(w.words) < 50_000 {
		var b strings.Builder
		for range 1 + r.IntN(4) {
			b.WriteString(syllables[r.IntN(len(syllables))])
		}
		if s := b.String() + []string{"", "s", "ed", "y", "o"}[r.IntN(5)] + fmt.Sprint(len(w.words)/3000); !seen[s] {
			seen[s] = true
			w.words = append(w.words, strings.TrimSuffix(s, "0"))
		}
	}
	return w
}

func (w *writer) text(b *bytes.Buffer, words int) {
	for i := range words {
		b.WriteString(w.words[w.zipf.Uint64()])
		if i%12 == 11 {
			b.WriteString("\r\n")
		} else {
			b.WriteByte(' ')
		}
	}
}

func (w *writer) japanese(b *bytes.Buffer, characters int) {
	for i := range characters {
		switch {
		case i%40 == 39:
			b.WriteString("。\r\n")
		case w.r.IntN(3) == 0:
			b.WriteRune(0x4e00 + rune(w.zipf.Uint64()%2500)*3)
		default:
			b.WriteRune(0x3041 + rune(w.r.IntN(80)))
		}
	}
}

// mail is number i; one in ten is Japanese.
func (w *writer) mail(i int) string {
	var b bytes.Buffer
	id := fmt.Sprintf("%016x%08x", w.r.Uint64(), i)
	fmt.Fprintf(&b, "Return-Path: <user%d@example.com>\r\n", i%500)
	for hop := range 3 {
		fmt.Fprintf(&b, "Received: from mx%d.example.net (mx%d.example.net [192.0.2.%d])\r\n\tby relay%d.example.org with ESMTPS id %x;\r\n\tMon, 2 Feb 2026 10:%02d:%02d +0900\r\n",
			hop, hop, w.r.IntN(256), hop, w.r.Uint64(), i/60%60, i%60)
	}
	fmt.Fprintf(&b, "DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=s1; bh=%x;\r\n\tb=%x%x\r\n\t %x%x\r\n", w.r.Uint64(), w.r.Uint64(), w.r.Uint64(), w.r.Uint64(), w.r.Uint64())
	fmt.Fprintf(&b, "From: User %d <user%d@example.com>\r\nTo: bob@example.test\r\nSubject: ", i%500, i%500)
	w.text(&b, 6)
	fmt.Fprintf(&b, "\r\nMessage-ID: <%s@example.com>\r\nDate: Mon, 2 Feb 2026 10:00:00 +0900\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", id)
	if i%10 == 0 {
		b.WriteString("お世話になっております。")
		w.japanese(&b, 300+w.r.IntN(900))
		if i%500 == 0 {
			b.WriteString("請求書")
		}
		b.WriteString("\r\nよろしくお願いいたします。\r\n")
	} else {
		w.text(&b, 60+w.r.IntN(500))
	}
	if i%1000 == 7 {
		b.WriteString("\r\nthe contract with Weatherbee Ltd. is attached\r\n")
	}
	fmt.Fprintf(&b, "\r\nserial%d\r\n", i)
	return b.String()
}

// cpu is the processor time that this process has used, in seconds: how busy others keep the machine does not matter to it.
func cpu(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// fill puts messages into bob's INBOX, and gives their octets.
func (w *writer) fill(b *testing.B, h *harness, n int) (octets int) {
	b.Helper()
	for i := 0; i < n; {
		var messages []string
		for ; len(messages) < 500 && i < n; i++ {
			messages = append(messages, w.mail(i))
			octets += len(messages[len(messages)-1])
		}
		if _, err := h.appendTo("bob", "INBOX", "", 0, messages...); err != nil {
			b.Fatal(err)
		}
	}
	return octets
}

// awaitIndex waits until all is indexed.
func (h *harness) awaitIndex() {
	for h.metric("yubin_storage_index_pending_messages", "") > 0 {
		time.Sleep(time.Second) // looking costs processor time too
	}
}

func uidsTo(n uint32) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Uids{Uids: &storagev1.SearchCriteria_UidSet{Uids: []*storagev1.UidRange{{Start: 1, Stop: n}}}}}
}

// BenchmarkIndex measures searches in a mailbox of many messages, as shares of what it takes to read them all, and reports the size of the index.
func BenchmarkIndex(b *testing.B) {
	h := start(b, "--storage-index-rate=1000000")
	w := newWriter()
	filled := time.Now()
	octets := w.fill(b, h, *indexMessages)
	stored := time.Since(filled)
	h.awaitIndex()
	text, segment := h.metric("yubin_storage_index_bytes_total", "text"), h.metric("yubin_storage_index_bytes_total", "segment")
	b.Logf("%d messages of %d octets: stored in %v, indexed %v after that; %.3f octets of text and %.3f of segments an octet of mail; %v segments",
		*indexMessages, octets, stored.Round(time.Millisecond), (time.Since(filled) - stored).Round(time.Millisecond),
		text/float64(octets), segment/float64(octets), h.metric("yubin_storage_index_segments_total", ""))

	// What reading takes is measured with some messages: all of them would take longer than a search may.
	const some = 1000
	h.stop()
	h.run("--storage-index-text=0", "--storage-search-read=0")
	box := h.mailbox("bob", "INBOX").GetMailboxId()
	before := cpu(b)
	_, err := h.imap.Search(b.Context(), &storagev1.SearchRequest{AccountId: "bob", MailboxId: box, Criteria: allKeys(uidsTo(some), textKey("zxqv nothing"))})
	if err != nil {
		b.Fatal(err)
	}
	reading := (cpu(b) - before) / some * float64(*indexMessages)
	b.Logf("to read all messages takes %.1f s of processor time", reading)
	h.stop()
	h.run()

	for _, c := range []struct {
		name     string
		criteria *storagev1.SearchCriteria
	}{
		{"text-in-one-message", textKey(fmt.Sprint("serial", *indexMessages-5))},
		{"text-in-none", textKey("zxqv nothing")},
		{"text-word-in-many", textKey(w.words[3])},
		{"text-in-all", textKey("bob@example.test")},
		{"text-part-of-all", textKey("serial")},
		{"text-part-of-address", textKey("example.te")},
		{"text-part-of-many-words", textKey("tion")},
		{"body-part-of-words", bodyKey("ance")},
		{"body-phrase-in-0.1%", bodyKey("contract with weatherbee")},
		{"body-phrase-with-punctuation", bodyKey("weatherbee ltd. is att")},
		{"body-phrase-of-common-words", bodyKey(strings.Join(w.words[:5], " "))},
		{"text-japanese-one", textKey("丒")},
		{"text-japanese-two", textKey("請求")},
		{"body-japanese-two", bodyKey("願い")},
		{"text-japanese-three", textKey("請求書")},
		{"body-japanese-in-all-japanese", bodyKey("お願いいたし")},
		{"subject", headerKey("Subject", w.words[700])},
		{"subject-in-many", headerKey("Subject", w.words[3])},
		{"from", headerKey("From", "user77@")},
		{"to-in-all", headerKey("To", "bob@exam")},
		{"header", headerKey("Message-ID", fmt.Sprintf("%08x@", *indexMessages/2))},
		{"body-and-flag", allKeys(bodyKey("contract"), notKey(&storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Flags{Flags: deleted}}))},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := &storagev1.SearchRequest{AccountId: "bob", MailboxId: box, Criteria: c.criteria}
			before := cpu(b)
			n, texts := 0, h.metric("yubin_storage_search_messages_total", "text")
			for b.Loop() {
				answer, err := h.imap.Search(b.Context(), r)
				if err != nil {
					b.Fatal(err)
				}
				n = 0
				for _, u := range answer.GetUids() {
					n += int(u.GetStop() - u.GetStart() + 1)
				}
			}
			used := (cpu(b) - before) / float64(b.N)
			b.ReportMetric(used*1000, "cpu-ms/op")
			b.ReportMetric(used/reading*1000, "‰-of-reading")
			b.ReportMetric(float64(n), "found")
			b.ReportMetric((h.metric("yubin_storage_search_messages_total", "text")-texts)/float64(b.N), "texts/op")
		})
	}
	if n := h.metric("yubin_storage_search_messages_total", "body"); n > 0 {
		b.Errorf("%v messages were read", n)
	}
}

// BenchmarkIndexCost compares what it takes to store messages, and to index them behind that.
func BenchmarkIndexCost(b *testing.B) {
	const messages = 5000
	for b.Loop() {
		var took [2]float64
		for i, args := range []string{"--storage-index-text=0", "--storage-index-rate=1000000"} {
			h := start(b, args)
			before := cpu(b)
			newWriter().fill(b, h, messages)
			if i == 1 {
				h.awaitIndex()
			}
			took[i] = cpu(b) - before
		}
		b.ReportMetric(took[0]*1000/messages, "cpu-ms/message")
		b.ReportMetric(took[1]/took[0], "with-index/without")
	}
}
