package session

import "github.com/yubin-mail/yubin/services/imap/internal/wire"

// PREVIEW: RFC 8970. Previews are made at delivery, so that LAZY gets them too.
func init() {
	register(extension{
		capabilities: []capability{{name: "PREVIEW", when: whenLoggedIn}},
		fetchItems: []fetchItem{{name: "PREVIEW", needs: func(wire.Item) need { return need{preview: true} },
			render: func(s *session, m *fetched, _ wire.Item, dst []byte) []byte {
				return wire.AppendString(append(dst, "PREVIEW "...), m.info.GetPreview(), s.enc.UTF8)
			}}},
		grammar: func(g *wire.Grammar) {
			g.Register(wire.FetchItems, "PREVIEW", func(d *wire.Decoder) any {
				// A parenthesis may also begin the modifiers of the whole FETCH.
				if d.Ahead(" (LAZY") {
					d.SP()
					d.List(func() {
						if d.Keyword() != "LAZY" {
							d.Fail("unknown PREVIEW modifier")
						}
					})
				}
				return nil
			})
		},
	})
}
