package session

import (
	"errors"
	"math"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// MESSAGELIMIT: RFC 9738. The limit is the operator's: without one there is no such capability.
func init() {
	register(extension{
		capabilities: []capability{{
			name:  "MESSAGELIMIT",
			when:  func(s *session) bool { return whenLoggedIn(s) && s.Limits.Messages > 0 },
			value: func(s *session) string { return itoa(uint64(s.Limits.Messages)) },
		}},
		searchKeys: []searchKey{
			{name: "UIDAFTER", criteria: func(_ *session, arg any) *storagev1.SearchCriteria {
				if uid := arg.(uint32); uid < math.MaxUint32 {
					return uidCriteria(uid+1, math.MaxUint32)
				}
				return matchNot(matchAll())
			}},
			{name: "UIDBEFORE", criteria: func(_ *session, arg any) *storagev1.SearchCriteria {
				if uid := arg.(uint32); uid > 1 {
					return uidCriteria(1, uid-1)
				}
				return matchNot(matchAll())
			}},
		},
		grammar: func(g *wire.Grammar) {
			for _, name := range []string{"UIDAFTER", "UIDBEFORE"} {
				g.Register(wire.SearchKeys, name, func(d *wire.Decoder) any {
					d.SP()
					return d.NzNumber()
				})
			}
		},
	})
}

func uidCriteria(first, last uint32) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Uids{Uids: &storagev1.SearchCriteria_UidSet{
		Uids: []*storagev1.UidRange{{Start: first, Stop: last}},
	}}}
}

// limited keeps as many messages as one command takes, those with the highest UIDs, and gives the response code that says so (RFC 9738
// section 3.1), "" if these are all.
func (s *session) limited(spans []span) (kept []span, code string) {
	excess := count(spans) - s.Limits.Messages
	if s.Limits.Messages <= 0 || excess <= 0 {
		return spans, ""
	}
	for excess > 0 {
		n := min(excess, spans[0].to-spans[0].from)
		excess -= n
		if spans[0].from+n == spans[0].to {
			spans = spans[1:]
			continue
		}
		kept = append(kept, span{spans[0].from + n, spans[0].to})
		spans = spans[1:]
	}
	kept = append(kept, spans...)
	return kept, s.messageLimit() + " " + itoa(uint64(s.box.told.At(kept[0].from).UID))
}

func (s *session) messageLimit() string { return "MESSAGELIMIT " + itoa(uint64(s.Limits.Messages)) }

// allowed refuses a command that can only be done for all messages.
func (s *session) allowed(messages int) error {
	if s.Limits.Messages > 0 && messages > s.Limits.Messages {
		return no(s.messageLimit(), "too many messages for one command")
	}
	return nil
}

// within adds to the answer of a command that it did not take all messages: in a NO of its own, where the answer has another code.
func (s *session) within(limit string, r reply, err error) (reply, error) {
	switch {
	case limit == "", fatal(err):
	case err == nil && r.code == "":
		r.code = limit
	case errors.Is(err, errExpungeIssued): // which then comes in an OK (RFC 9738 section 3.1)
		s.enc.Untagged(wire.StatusNO, limit, "not all messages were taken")
		return reply{code: "EXPUNGEISSUED", text: errExpungeIssued.Error()}, nil
	default:
		s.enc.Untagged(wire.StatusNO, limit, "not all messages were taken")
	}
	return r, err
}

// limitedUIDs is limited for what a search has found.
func (s *session) limitedUIDs(uids []*storagev1.UidRange) ([]*storagev1.UidRange, string) {
	if s.Limits.Messages <= 0 {
		return uids, ""
	}
	kept, code := s.limited(s.box.known(uids))
	if code == "" {
		return uids, ""
	}
	return s.box.uidRanges(kept), code
}
