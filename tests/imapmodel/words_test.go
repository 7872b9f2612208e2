package imapmodel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Search keys that look into messages.

// needles are as a client says them; they are in no field of which the model does not know.
var needles = []string{"lunch", "LuNcH", "弁当", "ＺＥＢＲＡ", "dinner", "noon", "plan", "bob", "Cooper", "山田", "nothing"}

// said writes a string as a search key has it. Others than ASCII need a charset.
func said(s string) string {
	if len(s) == len([]rune(s)) {
		return quoted(s)
	}
	return fmt.Sprintf("{%d+}\r\n%s", len(s), s)
}

func (p person) has(needle string) bool {
	return strings.Contains(fold(p.name), needle) || p.local != "" && strings.Contains(p.address(), needle)
}

func (c content) inBody(needle string) bool { return strings.Contains(fold(c.text.reads), needle) }

func (c content) inText(needle string) bool {
	return c.inBody(needle) || strings.Contains(fold(c.subject.reads), needle) || c.from.has(needle) || c.to.has(needle) || c.cc.has(needle)
}

func wordKey(r *rand.Rand) key {
	needle := needles[r.IntN(len(needles))]
	folded := fold(needle)
	of := func(name string, has func(c content) bool) key {
		return key{
			text: name + " " + said(needle), stored: true, wide: len(needle) != len([]rune(needle)),
			match: func(_ int, m *message, _ version) bool { return has(m.content) },
		}
	}
	switch r.IntN(9) {
	case 0:
		return of("TEXT", func(c content) bool { return c.inText(folded) })
	case 1:
		return of("BODY", func(c content) bool { return c.inBody(folded) })
	case 2:
		return of("FROM", func(c content) bool { return c.from.has(folded) })
	case 3:
		return of("TO", func(c content) bool { return c.to.has(folded) })
	case 4:
		return of("CC", func(c content) bool { return c.cc.has(folded) })
	case 5:
		return of("HEADER Subject", func(c content) bool { return strings.Contains(fold(c.subject.reads), folded) })
	case 6:
		needle = []string{"", randomID(r), "@ids."}[r.IntN(3)]
		return of("HEADER Message-ID", func(c content) bool { return c.id != "" && strings.Contains(c.id, needle) })
	case 7:
		needle = []string{"", "id3@"}[r.IntN(2)]
		return of("HEADER References", func(c content) bool {
			return strings.Contains(c.header, "References:") && (needle == "" || slices.Contains(c.references, "<id3@ids.example>"))
		})
	default:
		return of("SUBJECT", func(c content) bool { return strings.Contains(fold(c.subject.reads), folded) })
	}
}

// dateKey is one of those about days.
func dateKey(r *rand.Rand) key {
	day := time.Date(2024, 1, 1+r.IntN(20), 0, 0, 0, 0, time.UTC)
	sent := day.AddDate(0, -1, 0)
	of := func(name string, day time.Time, stored bool, match func(c content) bool) key {
		return key{text: name + " " + day.Format("2-Jan-2006"), stored: stored, match: func(_ int, m *message, _ version) bool { return match(m.content) }}
	}
	on := func(at, day time.Time) bool { return !at.Before(day) && at.Before(day.AddDate(0, 0, 1)) }
	switch r.IntN(8) {
	case 0:
		return of("BEFORE", day, false, func(c content) bool { return c.date.Before(day) })
	case 1:
		return of("ON", day, false, func(c content) bool { return on(c.date, day) })
	case 2:
		return of("SINCE", day, false, func(c content) bool { return !c.date.Before(day) })
	case 3:
		return of("SENTBEFORE", sent, true, func(c content) bool { return c.sent.Before(sent) })
	case 4:
		return of("SENTON", sent, true, func(c content) bool { return on(c.sent, sent) })
	case 5:
		return key{text: "OLDER 86400", match: func(int, *message, version) bool { return true }} // all are of 2024
	case 6:
		return key{text: "YOUNGER 86400", match: func(int, *message, version) bool { return false }}
	default:
		return of("SENTSINCE", sent, true, func(c content) bool { return !c.sent.Before(sent) })
	}
}

// plainKey is one that means the same in every mailbox.
func plainKey(r *rand.Rand) key {
	octets := 300 + r.IntN(150)
	switch r.IntN(11) {
	case 0:
		return key{text: "ALL", match: func(int, *message, version) bool { return true }}
	case 1:
		return flagKey("SEEN", `\Seen`, true)
	case 2:
		return flagKey("UNSEEN", `\Seen`, false)
	case 3:
		return flagKey("DELETED", `\Deleted`, true)
	case 4:
		return flagKey("UNDELETED", `\Deleted`, false)
	case 5:
		return flagKey("KEYWORD work", "work", true)
	case 6:
		return flagKey("UNKEYWORD $Junk", "$junk", false)
	case 7:
		return key{text: fmt.Sprint("LARGER ", octets), match: func(_ int, m *message, _ version) bool { return m.size > octets }}
	case 8:
		return key{text: fmt.Sprint("SMALLER ", octets), match: func(_ int, m *message, _ version) bool { return m.size < octets }}
	case 9:
		return dateKey(r)
	default:
		return wordKey(r)
	}
}
