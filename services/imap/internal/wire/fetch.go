package wire

// maxPath is the deepest part number; storage cuts message trees far above it.
const maxPath = 100

// Section selects octets of a message (RFC 9051 section 6.4.5.1).
type Section struct {
	// Path is the part number; empty: the message.
	Path []int
	// Specifier is "", HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME.
	Specifier string
	// Fields are the names for HEADER.FIELDS and HEADER.FIELDS.NOT, as sent.
	Fields []string
	// Peek: \Seen is not set.
	Peek bool
	// Partial is nil for all octets.
	Partial *Partial
}

// Partial is <offset.length>.
type Partial struct {
	Offset, Length uint64
}

// FetchArgs are the arguments of FETCH and UID FETCH.
type FetchArgs struct {
	Set NumSet
	// Items in the order sent, macros replaced by what they stand for.
	Items     []Item
	Modifiers []Item
}

func registerFetch(g *Grammar) {
	g.registerAll(FetchItems, "ENVELOPE", "FLAGS", "INTERNALDATE", "UID", "BODYSTRUCTURE",
		"RFC822", "RFC822.HEADER", "RFC822.SIZE", "RFC822.TEXT")
	g.Register(FetchItems, "BODY", func(d *Decoder) any {
		if d.Peek() != '[' {
			return Item{Name: "BODY"}
		}
		return Item{Name: "BODY", Arg: d.section(false)}
	})
	g.Register(FetchItems, "BODY.PEEK", func(d *Decoder) any { return Item{Name: "BODY", Arg: d.section(true)} })
	// RFC 9051 section 6.4.5, formerly RFC 3516.
	g.Register(FetchItems, "BINARY", func(d *Decoder) any { return d.binarySection(false) })
	g.Register(FetchItems, "BINARY.PEEK", func(d *Decoder) any {
		return Item{Name: "BINARY", Arg: d.binarySection(true)}
	})
	g.Register(FetchItems, "BINARY.SIZE", func(d *Decoder) any {
		s := &Section{Peek: true}
		d.Special('[')
		s.Path = d.wholePath()
		d.Special(']')
		return s
	})
}

// FetchArgs reads the arguments of FETCH and UID FETCH to the end of the command.
func (d *Decoder) FetchArgs() (FetchArgs, error) {
	var a FetchArgs
	d.SP()
	a.Set = d.NumSet()
	d.SP()
	if d.Peek() == '(' {
		a.Items = d.ItemList(FetchItems)
	} else {
		a.Items = d.fetchMacro(d.Keyword())
	}
	if d.TrySP() {
		a.Modifiers = d.ItemList(FetchModifiers)
	}
	err := d.End()
	return a, err
}

func (d *Decoder) fetchMacro(name string) []Item {
	fast := []Item{{Name: "FLAGS"}, {Name: "INTERNALDATE"}, {Name: "RFC822.SIZE"}}
	switch name {
	case "FAST":
		return fast
	case "ALL":
		return append(fast, Item{Name: "ENVELOPE"})
	case "FULL":
		return append(fast, Item{Name: "ENVELOPE"}, Item{Name: "BODY"})
	}
	return []Item{d.itemNamed(FetchItems, name)}
}

// section reads "[" section-spec "]" and a partial.
func (d *Decoder) section(peek bool) *Section {
	s := &Section{Peek: peek}
	d.Special('[')
	var more bool
	s.Path, more = d.path()
	if more || (len(s.Path) == 0 && d.Peek() != ']') {
		s.Specifier = d.Keyword()
	}
	switch s.Specifier {
	case "", "HEADER", "TEXT":
	case "MIME":
		if len(s.Path) == 0 {
			d.Fail("MIME needs a part number")
		}
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		d.SP()
		d.List(func() { s.Fields = append(s.Fields, d.AString()) })
		if len(s.Fields) == 0 {
			d.Fail("no header field names")
		}
	default:
		d.Fail("unknown section")
	}
	d.Special(']')
	s.Partial = d.partial()
	return s
}

func (d *Decoder) binarySection(peek bool) *Section {
	s := &Section{Peek: peek}
	d.Special('[')
	s.Path = d.wholePath()
	d.Special(']')
	s.Partial = d.partial()
	return s
}

// path reads a part number. more: a dot followed, a specifier must come.
func (d *Decoder) path() (path []int, more bool) {
	for isDigit(d.Peek()) {
		path = append(path, int(d.NzNumber()))
		if len(path) > maxPath {
			d.Fail(errTooDeep)
		}
		if !d.TrySpecial('.') {
			return path, false
		}
	}
	return path, len(path) > 0
}

// wholePath reads a part number that stands alone, or nothing.
func (d *Decoder) wholePath() []int {
	path, more := d.path()
	if more {
		d.Fail("part number ends with a dot")
	}
	return path
}

func (d *Decoder) partial() *Partial {
	if !d.TrySpecial('<') {
		return nil
	}
	p := &Partial{Offset: d.Number64()}
	d.Special('.')
	d.noZero()
	p.Length = d.Number64()
	d.Special('>')
	return p
}
