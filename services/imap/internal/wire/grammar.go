package wire

import (
	"fmt"
	"strings"
)

// Kind is a place in the grammar where an extension can add words (RFC 4466).
type Kind int

// The places.
const (
	FetchItems Kind = iota
	FetchModifiers
	StoreModifiers
	SearchKeys
	SearchReturns
	StatusItems
	ListSelections
	ListReturns
	SelectParams
	CreateParams
)

func (k Kind) String() string {
	switch k {
	case FetchItems:
		return "FETCH item"
	case FetchModifiers:
		return "FETCH modifier"
	case StoreModifiers:
		return "STORE modifier"
	case SearchKeys:
		return "SEARCH key"
	case SearchReturns:
		return "SEARCH return option"
	case StatusItems:
		return "STATUS item"
	case ListSelections:
		return "LIST selection option"
	case ListReturns:
		return "LIST return option"
	case SelectParams:
		return "SELECT parameter"
	case CreateParams:
		return "CREATE parameter"
	}
	return "word"
}

// Parser reads what follows a word, the space before it included, and returns the value for Item.Arg. A
// parser of FetchItems may return an Item, one of SearchKeys a SearchKey, to be used as it is.
type Parser func(d *Decoder) any

// Grammar is the set of words that decoders know. Fill it before the first decoder uses it.
type Grammar struct {
	words map[Kind]map[string]Parser
}

// NewGrammar returns the grammar of IMAP4rev1 and IMAP4rev2 with QUOTA, APPENDLIMIT and CREATE-SPECIAL-USE.
func NewGrammar() *Grammar {
	g := &Grammar{words: make(map[Kind]map[string]Parser)}
	registerFetch(g)
	registerSearch(g)
	registerList(g)
	registerCreate(g)
	return g
}

// Register adds a word in upper case; parse is nil if nothing follows it. A word that is known already panics:
// two extensions would fight over it.
func (g *Grammar) Register(kind Kind, name string, parse Parser) {
	if g.words[kind] == nil {
		g.words[kind] = make(map[string]Parser)
	}
	name = strings.ToUpper(name)
	if _, dup := g.words[kind][name]; dup {
		panic(fmt.Sprintf("wire: %v %s registered twice", kind, name))
	}
	g.words[kind][name] = parse
}

func (g *Grammar) registerAll(kind Kind, names ...string) {
	for _, name := range names {
		g.Register(kind, name, nil)
	}
}

// Item is a word of the grammar with what followed it.
type Item struct {
	// Name is in upper case.
	Name string
	Arg  any
}

// Section is the section of a BODY or BINARY item; nil if there is none.
func (it Item) Section() *Section {
	s, _ := it.Arg.(*Section)
	return s
}

// Has reports whether an item of that name is there.
func Has(items []Item, name string) bool {
	for _, it := range items {
		if it.Name == name {
			return true
		}
	}
	return false
}

// Arg returns the argument of the first item of that name; !ok if there is none or it is not a T.
func Arg[T any](items []Item, name string) (arg T, ok bool) {
	for _, it := range items {
		if it.Name == name {
			arg, ok = it.Arg.(T)
			return arg, ok
		}
	}
	return arg, false
}

// item reads a word of that kind and what follows it.
func (d *Decoder) item(kind Kind) Item {
	return d.itemNamed(kind, d.Keyword())
}

func (d *Decoder) itemNamed(kind Kind, name string) Item {
	if d.err != nil {
		return Item{}
	}
	parse, known := d.g.words[kind][name]
	if !known {
		d.Fail("unknown %v", kind)
		return Item{}
	}
	if parse == nil {
		return Item{Name: name}
	}
	arg := parse(d)
	if it, ok := arg.(Item); ok {
		return it
	}
	return Item{Name: name, Arg: arg}
}

// ItemList reads a parenthesised list of words of that kind. Only that of options of SEARCH and LIST may be empty (RFC 4466 section 6,
// RFC 9051 section 9).
func (d *Decoder) ItemList(kind Kind) []Item {
	var items []Item
	d.List(func() { items = append(items, d.item(kind)) })
	switch kind {
	case SearchReturns, ListSelections, ListReturns:
	default:
		if len(items) == 0 {
			d.Fail("no %v", kind)
		}
	}
	return items
}
