package session

import (
	"cmp"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// WITHIN: RFC 5032, by the internal date. A message that is exactly so old is found by both keys.
func init() {
	register(extension{
		capabilities: []capability{{name: "WITHIN", when: whenLoggedIn}},
		searchKeys: []searchKey{
			{name: "OLDER", criteria: func(s *session, arg any) *storagev1.SearchCriteria {
				return internalDate(&storagev1.SearchCriteria_TimeRange{BeforeUnix: notOpen(s.ago(arg) + 1)})
			}},
			{name: "YOUNGER", criteria: func(s *session, arg any) *storagev1.SearchCriteria {
				return internalDate(&storagev1.SearchCriteria_TimeRange{FromUnix: notOpen(s.ago(arg))})
			}},
		},
		grammar: func(g *wire.Grammar) {
			for _, name := range []string{"OLDER", "YOUNGER"} {
				g.Register(wire.SearchKeys, name, func(d *wire.Decoder) any {
					d.SP()
					return d.NzNumber()
				})
			}
		},
	})
}

// ago is the moment so many seconds ago, in Unix seconds.
func (s *session) ago(seconds any) int64 { return s.Now().Unix() - int64(seconds.(uint32)) }

// notOpen keeps a bound from being 0, which is none.
func notOpen(unix int64) int64 { return cmp.Or(unix, 1) }

func internalDate(r *storagev1.SearchCriteria_TimeRange) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_InternalDate{InternalDate: r}}
}
