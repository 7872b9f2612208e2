package session

import (
	"time"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// SAVEDATE: RFC 8514. Every message has one, in every mailbox.
func init() {
	register(extension{
		capabilities: []capability{{name: "SAVEDATE", when: whenLoggedIn}},
		fetchItems: []fetchItem{{name: "SAVEDATE", render: func(_ *session, m *fetched, _ wire.Item, dst []byte) []byte {
			return appendDateTime(append(dst, "SAVEDATE "...), m.state.Saved)
		}}},
		searchKeys: []searchKey{
			{name: "SAVEDATESUPPORTED", criteria: func(*session, any) *storagev1.SearchCriteria { return matchAll() }},
			savedKey("SAVEDBEFORE", wire.SearchBefore), savedKey("SAVEDON", wire.SearchOn), savedKey("SAVEDSINCE", wire.SearchSince),
		},
		grammar: func(g *wire.Grammar) {
			g.Register(wire.FetchItems, "SAVEDATE", nil)
			g.Register(wire.SearchKeys, "SAVEDATESUPPORTED", nil)
			for _, name := range []string{"SAVEDBEFORE", "SAVEDON", "SAVEDSINCE"} {
				g.Register(wire.SearchKeys, name, func(d *wire.Decoder) any {
					d.SP()
					return d.Date()
				})
			}
		},
	})
}

// savedKey compares the save date as op does the internal date.
func savedKey(name string, op wire.SearchOp) searchKey {
	return searchKey{name: name, criteria: func(_ *session, arg any) *storagev1.SearchCriteria {
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_SavedDate{SavedDate: days(wire.SearchKey{Op: op, Date: arg.(time.Time)})}}
	}}
}
