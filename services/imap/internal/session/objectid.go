package session

import (
	"crypto/sha256"
	"encoding/hex"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// OBJECTID: RFC 8474. A mailbox's id stays when it is renamed; a message's when it is copied or moved.
func init() {
	record := func(wire.Item) need { return need{record: true} }
	register(extension{
		capabilities: []capability{{name: "OBJECTID", when: whenLoggedIn}},
		fetchItems: []fetchItem{
			{name: "EMAILID", needs: record, render: func(_ *session, m *fetched, _ wire.Item, dst []byte) []byte {
				return append(append(append(dst, "EMAILID ("...), m.info.GetEmailId()...), ')')
			}},
			{name: "THREADID", needs: record, render: func(_ *session, m *fetched, _ wire.Item, dst []byte) []byte {
				return append(append(append(dst, "THREADID ("...), m.info.GetThreadId()...), ')')
			}},
		},
		statusItems: []statusItem{{name: "MAILBOXID", text: func(m held) string { return "(" + mailboxID(m) + ")" }}},
		searchKeys: []searchKey{
			{name: "EMAILID", criteria: func(_ *session, arg any) *storagev1.SearchCriteria {
				return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_EmailId{EmailId: arg.(string)}}
			}},
			{name: "THREADID", criteria: func(_ *session, arg any) *storagev1.SearchCriteria {
				return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_ThreadId{ThreadId: arg.(string)}}
			}},
		},
		grammar: func(g *wire.Grammar) {
			g.Register(wire.StatusItems, "MAILBOXID", nil)
			for _, name := range []string{"EMAILID", "THREADID"} {
				g.Register(wire.FetchItems, name, nil)
				g.Register(wire.SearchKeys, name, parseObjectID)
			}
		},
	})
}

// maxObjectID is the longest id (RFC 8474 section 7, "objectid").
const maxObjectID = 255

func parseObjectID(d *wire.Decoder) any {
	d.SP()
	id := d.Atom()
	if len(id) > maxObjectID {
		d.Fail("object id too long")
	}
	for _, c := range id {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			d.Fail("object id has other characters than letters, digits, _ and -")
		}
	}
	return id
}

// mailboxID begins with a letter, so that it cannot be taken for a number (RFC 8474 section 7). Storage's numbers are of an account, so that a
// mailbox of somebody else must also say whose it is.
func mailboxID(m held) string {
	id := "F" + itoa(m.GetMailboxId())
	if m.actor == nil {
		return id
	}
	owner := sha256.Sum256([]byte(m.account))
	return id + "-" + hex.EncodeToString(owner[:12])
}

func mailboxIDCode(m held) string { return "MAILBOXID (" + mailboxID(m) + ")" }
