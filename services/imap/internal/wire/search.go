package wire

import (
	"strings"
	"time"
)

// SearchOp is what a SearchKey tests.
type SearchOp int

// The tests. Each names the fields of SearchKey that it uses.
const (
	// SearchAll matches every message.
	SearchAll SearchOp = iota
	// SearchAnd matches what all of Keys match.
	SearchAnd
	// SearchOr matches what one of the two Keys matches.
	SearchOr
	// SearchNot matches what the one of Keys does not match.
	SearchNot
	// SearchSeq tests the sequence number against Set.
	SearchSeq
	// SearchUID tests the UID against Set.
	SearchUID
	// SearchFlag tests for the flag or keyword Value.
	SearchFlag
	// SearchHeader looks for Value in the header field Name; an empty Value matches any field of that name.
	SearchHeader
	// SearchBody looks for Value in the body.
	SearchBody
	// SearchText looks for Value in header and body.
	SearchText
	// SearchBefore, SearchOn and SearchSince compare the internal date with the day Date.
	SearchBefore
	SearchOn
	SearchSince
	// SearchSentBefore, SearchSentOn and SearchSentSince compare the Date field with the day Date.
	SearchSentBefore
	SearchSentOn
	SearchSentSince
	// SearchLarger and SearchSmaller compare the size with Num octets.
	SearchLarger
	SearchSmaller
	// SearchExtension is the key Name of an extension with its Arg.
	SearchExtension
)

// SearchKey is a node of a search (RFC 9051 section 6.4.4). Shorthands are resolved: UNSEEN is SearchNot of SearchFlag \Seen,
// FROM is SearchHeader From.
type SearchKey struct {
	Op          SearchOp
	Keys        []SearchKey
	Set         NumSet
	Name, Value string
	Date        time.Time
	Num         uint64
	Arg         any
}

// maxSearchKeys is the most nodes of one search.
const maxSearchKeys = 1024

// SearchArgs are the arguments of SEARCH and UID SEARCH.
type SearchArgs struct {
	// Return are MIN, MAX, ALL, COUNT and SAVE as sent; none with Extended means ALL.
	Return []Item
	// Extended: RETURN was given, the answer is ESEARCH.
	Extended bool
	// Charset is in upper case, empty if none was given. Values are UTF-8 already.
	Charset string
	// Key is SearchAnd if several keys were given.
	Key SearchKey
}

func registerSearch(g *Grammar) {
	g.registerAll(SearchReturns, "MIN", "MAX", "ALL", "COUNT", "SAVE")
	key := func(name string, parse func(d *Decoder) SearchKey) {
		g.Register(SearchKeys, name, func(d *Decoder) any { return parse(d) })
	}
	fixed := func(name string, k SearchKey) { key(name, func(*Decoder) SearchKey { return k }) }
	fixed("ALL", SearchKey{Op: SearchAll})
	for name, flag := range map[string]string{
		"ANSWERED": `\Answered`, "DELETED": `\Deleted`, "DRAFT": `\Draft`, "FLAGGED": `\Flagged`, "SEEN": `\Seen`,
	} {
		fixed(name, flagKey(flag))
		fixed("UN"+name, notKey(flagKey(flag)))
	}
	recent := flagKey(`\Recent`)
	fixed("RECENT", recent)
	fixed("OLD", notKey(recent))
	fixed("NEW", SearchKey{Op: SearchAnd, Keys: []SearchKey{recent, notKey(flagKey(`\Seen`))}})
	key("KEYWORD", func(d *Decoder) SearchKey { return flagKey(d.searchKeyword()) })
	key("UNKEYWORD", func(d *Decoder) SearchKey { return notKey(flagKey(d.searchKeyword())) })

	for _, name := range []string{"Bcc", "Cc", "From", "Subject", "To"} {
		key(name, func(d *Decoder) SearchKey {
			return SearchKey{Op: SearchHeader, Name: name, Value: d.searchString()}
		})
	}
	key("HEADER", func(d *Decoder) SearchKey {
		return SearchKey{Op: SearchHeader, Name: d.searchString(), Value: d.searchString()}
	})
	key("BODY", func(d *Decoder) SearchKey { return SearchKey{Op: SearchBody, Value: d.searchString()} })
	key("TEXT", func(d *Decoder) SearchKey { return SearchKey{Op: SearchText, Value: d.searchString()} })

	for name, op := range map[string]SearchOp{
		"BEFORE": SearchBefore, "ON": SearchOn, "SINCE": SearchSince,
		"SENTBEFORE": SearchSentBefore, "SENTON": SearchSentOn, "SENTSINCE": SearchSentSince,
	} {
		key(name, func(d *Decoder) SearchKey {
			d.SP()
			return SearchKey{Op: op, Date: d.Date()}
		})
	}
	for name, op := range map[string]SearchOp{"LARGER": SearchLarger, "SMALLER": SearchSmaller} {
		key(name, func(d *Decoder) SearchKey {
			d.SP()
			return SearchKey{Op: op, Num: d.Number64()}
		})
	}
	key("UID", func(d *Decoder) SearchKey {
		d.SP()
		return SearchKey{Op: SearchUID, Set: d.NumSet()}
	})
	key("NOT", func(d *Decoder) SearchKey {
		d.SP()
		return notKey(d.SearchKey())
	})
	key("OR", func(d *Decoder) SearchKey {
		d.SP()
		a := d.SearchKey()
		d.SP()
		return SearchKey{Op: SearchOr, Keys: []SearchKey{a, d.SearchKey()}}
	})
}

func flagKey(flag string) SearchKey { return SearchKey{Op: SearchFlag, Value: flag} }

func notKey(k SearchKey) SearchKey { return SearchKey{Op: SearchNot, Keys: []SearchKey{k}} }

func (d *Decoder) searchKeyword() string {
	d.SP()
	return d.require(isAtomChar, maxKeyword, "keyword")
}

// searchString reads a space and a string in the search's charset.
func (d *Decoder) searchString() string {
	d.SP()
	s := d.AString()
	if d.err != nil {
		return ""
	}
	s, err := d.charset.decode(s)
	if err != nil {
		d.Fail("string is not %s", d.charset.name)
	}
	return s
}

// SearchArgs reads the arguments of SEARCH and UID SEARCH to the end of the command. With an error, Return is still what was read of it.
func (d *Decoder) SearchArgs() (SearchArgs, error) {
	d.SP()
	return d.searchArgs(d.searchWord())
}

// searchArgs reads what begins with a word.
func (d *Decoder) searchArgs(word string) (SearchArgs, error) {
	var a SearchArgs
	d.charset, d.nodes = charset{}, 0
	if word == "RETURN" {
		a.Extended = true
		d.SP()
		a.Return = d.ItemList(SearchReturns)
		d.SP()
		word = d.searchWord()
	}
	if word == "CHARSET" {
		d.SP()
		a.Charset = strings.ToUpper(d.AString())
		d.setCharset(a.Charset)
		d.SP()
		word = d.searchWord()
	}
	keys := []SearchKey{d.searchKeyNamed(word)}
	for d.TrySP() {
		keys = append(keys, d.SearchKey())
	}
	a.Key = allOf(keys)
	return a, d.End()
}

func allOf(keys []SearchKey) SearchKey {
	if len(keys) == 1 {
		return keys[0]
	}
	return SearchKey{Op: SearchAnd, Keys: keys}
}

// searchWord reads the word that a key begins with; empty: it begins with a list or a set.
func (d *Decoder) searchWord() string {
	switch c := d.Peek(); {
	case c == '(', c == '*', c == '$', isDigit(c):
		return ""
	}
	return d.Keyword()
}

// SearchKey reads one search key.
func (d *Decoder) SearchKey() SearchKey { return d.searchKeyNamed(d.searchWord()) }

func (d *Decoder) searchKeyNamed(word string) SearchKey {
	if d.nodes++; d.nodes > maxSearchKeys {
		d.Fail("too many search keys")
	}
	if d.err != nil {
		return SearchKey{}
	}
	d.enter()
	defer d.leave()
	if word == "" {
		if d.Peek() == '(' {
			var keys []SearchKey
			d.List(func() { keys = append(keys, d.SearchKey()) })
			if len(keys) == 0 {
				d.Fail("empty list of search keys")
			}
			return allOf(keys)
		}
		return SearchKey{Op: SearchSeq, Set: d.NumSet()}
	}
	it := d.itemNamed(SearchKeys, word)
	if k, ok := it.Arg.(SearchKey); ok {
		return k
	}
	return SearchKey{Op: SearchExtension, Name: it.Name, Arg: it.Arg}
}
