package catalog

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

func account(mailboxes ...string) *storagev1.CatalogRecord {
	a := &storagev1.CatalogAccount{NextMailboxId: 100, NextUidValidity: 7, Subscriptions: []string{"INBOX", "Lists"}, Keywords: []string{"$Work"}}
	a.Metadata = []*storagev1.CatalogAccount_Metadata{{Viewer: "a", Name: "/private/Comment", Value: []byte("x")}, {MailboxId: 1, Name: "/shared/comment"}}
	for i, name := range mailboxes {
		a.Mailboxes = append(a.Mailboxes, &storagev1.CatalogAccount_Mailbox{MailboxId: uint64(i + 1), Name: name, UidValidity: 5, UidNext: 9, HighestModseq: 3})
	}
	return &storagev1.CatalogRecord{Record: &storagev1.CatalogRecord_Account{Account: a}}
}

func annotated(m *storagev1.CatalogAccount_Metadata) *storagev1.CatalogRecord {
	r := account("INBOX")
	r.GetAccount().Metadata = []*storagev1.CatalogAccount_Metadata{m}
	return r
}

func messages(m ...*storagev1.CatalogMessage) *storagev1.CatalogRecord {
	return &storagev1.CatalogRecord{Record: &storagev1.CatalogRecord_Messages{Messages: &storagev1.CatalogMessages{
		MailboxId: 1, Vanished: []*storagev1.UidRange{{Start: 2, Stop: 4}}, Messages: m,
	}}}
}

func message(uid uint32) *storagev1.CatalogMessage {
	return &storagev1.CatalogMessage{Uid: uid, Size: 10, ContentId: []byte("content"), Prefix: []byte("x: y\r\n")}
}

func end(n uint64) *storagev1.CatalogRecord {
	return &storagev1.CatalogRecord{Record: &storagev1.CatalogRecord_End{End: &storagev1.CatalogEnd{Messages: n}}}
}

func written(t testing.TB, records ...*storagev1.CatalogRecord) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, r := range records {
		if err := WriteRecord(&b, r); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func read(b []byte) (records []*storagev1.CatalogRecord, err error) {
	err = ReadRecords(bytes.NewReader(b), func(r *storagev1.CatalogRecord) error {
		records = append(records, r)
		return nil
	})
	return records, err
}

func TestRecordsComeBack(t *testing.T) {
	want := []*storagev1.CatalogRecord{account("INBOX", "Lists"), messages(message(1), message(7)), messages()}
	got, err := read(written(t, append(want, end(2))...))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("got %d records, want %d", len(got), len(want))
	}
	for i := range want {
		if !proto.Equal(got[i], want[i]) {
			t.Errorf("record %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

func TestEveryCutIsNoticed(t *testing.T) {
	whole := written(t, account("INBOX"), messages(message(1)), end(1))
	for n := range whole {
		if _, err := read(whole[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d of %d octets: got %v, want ErrCorrupt", n, len(whole), err)
		}
	}
}

func TestWhatNobodyWritesIsRefused(t *testing.T) {
	bad := func(change func(*storagev1.CatalogMessage)) *storagev1.CatalogRecord {
		m := message(1)
		change(m)
		return messages(m)
	}
	for name, records := range map[string][]*storagev1.CatalogRecord{
		"no account":              {messages(), end(0)},
		"two accounts":            {account("INBOX"), account("INBOX"), end(0)},
		"no INBOX":                {account("Lists"), end(0)},
		"a name twice":            {account("INBOX", "Lists", "Lists"), end(0)},
		"a name not in form":      {account("INBOX", "/Lists"), end(0)},
		"an annotation of none":   {annotated(&storagev1.CatalogAccount_Metadata{MailboxId: 9, Name: "/private/x"}), end(0)},
		"a bad annotation":        {annotated(&storagev1.CatalogAccount_Metadata{MailboxId: 1, Name: "x"}), end(0)},
		"wrong count":             {account("INBOX"), messages(message(1)), end(2)},
		"more after the end":      {account("INBOX"), end(0), end(0)},
		"no UID":                  {account("INBOX"), bad(func(m *storagev1.CatalogMessage) { m.Uid = 0 }), end(1)},
		"no content":              {account("INBOX"), bad(func(m *storagev1.CatalogMessage) { m.ContentId = nil }), end(1)},
		"smaller than its prefix": {account("INBOX"), bad(func(m *storagev1.CatalogMessage) { m.Size = 1 }), end(1)},
		"nothing known":           {account("INBOX"), {}, end(0)},
	} {
		if _, err := read(written(t, records...)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
}

// FuzzReadRecords holds the reader to ErrCorrupt for whatever is no snapshot, and what it takes to coming back the same.
func FuzzReadRecords(f *testing.F) {
	f.Add(written(f, account("INBOX", "Lists"), messages(message(1), message(7)), end(2)))
	f.Add(written(f, account("INBOX"), end(0)))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := read(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("got %v, want ErrCorrupt", err)
			}
			return
		}
		var n uint64
		for _, r := range records {
			n += uint64(len(r.GetMessages().GetMessages()))
		}
		again, err := read(written(t, append(records, end(n))...))
		if err != nil || len(again) != len(records) {
			t.Fatalf("written again: %d records, %v; want %d", len(again), err, len(records))
		}
	})
}

// FuzzParseEntry holds the reader of a frame's meta to ErrCorrupt.
func FuzzParseEntry(f *testing.F) {
	good, err := proto.Marshal(&storagev1.CatalogEntry{AccountId: "a", SnapshotId: make([]byte, 16), TakenUnixMs: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := ParseEntry(b); err != nil && !errors.Is(err, ErrCorrupt) || err == nil && (e.GetAccountId() == "" || len(e.GetSnapshotId()) != 16) {
			t.Fatalf("got %v, %v", e, err)
		}
	})
}
