package wire

import "strings"

// maxSortKeys is the most criteria of one SORT: more than there are different ones.
const maxSortKeys = 32

// SortKey is one criterion of SORT (RFC 5256 section 3).
type SortKey struct {
	// Name is in upper case.
	Name    string
	Reverse bool
}

// SortArgs are the arguments of SORT and UID SORT.
type SortArgs struct {
	SearchArgs
	Keys []SortKey
}

// SortArgs reads the arguments of SORT and UID SORT to the end of the command. With an error, Return is still what was read of it.
func (d *Decoder) SortArgs() (SortArgs, error) {
	var a SortArgs
	d.charset, d.nodes = charset{}, 0
	d.SP()
	if d.Peek() != '(' {
		// RFC 5267 section 3.
		if d.Keyword() != "RETURN" {
			d.Fail("expected sort criteria")
		}
		a.Extended = true
		d.SP()
		a.Return = d.ItemList(SearchReturns)
		d.SP()
	}
	d.List(func() { a.Keys = append(a.Keys, d.sortKey()) })
	if n := len(a.Keys); n == 0 || n > maxSortKeys {
		d.Fail("need 1 to %d sort criteria", maxSortKeys)
	}
	d.searchIn(&a.SearchArgs)
	return a, d.End()
}

func (d *Decoder) sortKey() SortKey {
	word := d.Keyword()
	if word != "REVERSE" {
		return SortKey{Name: word}
	}
	d.SP()
	return SortKey{Name: d.Keyword(), Reverse: true}
}

// searchIn reads the charset and the search keys of SORT and THREAD.
func (d *Decoder) searchIn(a *SearchArgs) {
	d.SP()
	a.Charset = strings.ToUpper(d.AString())
	d.setCharset(a.Charset)
	var keys []SearchKey
	for d.err == nil && (len(keys) == 0 || d.Peek() == ' ') {
		d.SP()
		keys = append(keys, d.SearchKey())
	}
	a.Key = allOf(keys)
}

// ThreadArgs are the arguments of THREAD and UID THREAD.
type ThreadArgs struct {
	SearchArgs
	// Algorithm is in upper case.
	Algorithm string
}

// ThreadArgs reads the arguments of THREAD and UID THREAD to the end of the command.
func (d *Decoder) ThreadArgs() (ThreadArgs, error) {
	var a ThreadArgs
	d.charset, d.nodes = charset{}, 0
	d.SP()
	a.Algorithm = d.Keyword()
	d.searchIn(&a.SearchArgs)
	return a, d.End()
}
