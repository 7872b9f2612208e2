package imapmodel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// catenate is an APPEND of a message that is put together of what is there and what comes along (RFC 4469).
func (c *client) catenate(r *rand.Rand, g *game) *command {
	from := c.account.boxes[canonical(g.someName(r))]
	if from == nil || len(from.all) == 0 {
		return c.append(r, g)
	}
	name, m := g.someName(r), from.all[r.IntN(len(from.all))]
	url := fmt.Sprintf("/%s;UIDVALIDITY=%d/;UID=%d", from.name, from.validity, m.uid)
	if r.IntN(3) == 0 {
		url = fmt.Sprintf("/%s/;UID=%d", from.name, m.uid)
	}
	made, _ := compose(r)
	for made.text.encoding != m.text.encoding { // so that it is true of both bodies
		made, _ = compose(r)
	}
	of := func(section string) string { return "URL " + quoted(url+section) }
	literal := func(s string) string { return fmt.Sprintf("TEXT {%d+}\r\n%s", len(s), s) }
	var parts string
	switch r.IntN(4) {
	case 0:
		parts = of("")
		date := made.date
		made = m.content
		made.date = date
	case 1:
		parts = literal(made.header) + " " + of("/;SECTION=TEXT")
		made.text = m.text
	case 2:
		half := len(m.text.stored) / 2
		parts = literal(made.header) + " " + of(fmt.Sprintf("/;SECTION=1/;PARTIAL=0.%d", half)) + " " + of(fmt.Sprintf("/;SECTION=1/;PARTIAL=%d", half))
		made.text = m.text
	default:
		parts = of("/;SECTION=HEADER") + " " + literal(made.text.stored)
		date, text := made.date, made.text
		made = m.content
		made.date, made.text = date, text
	}
	made.size = len(made.header) + len(made.text.stored)
	names := randomFlags(r, 0)
	cmd := &command{text: fmt.Sprintf("APPEND %s (%s) %q CATENATE (%s)", quoted(name), strings.Join(names, " "), made.date.Format("02-Jan-2006 15:04:05 -0700"), parts)}
	to := c.account.boxes[canonical(name)]
	switch {
	case to == nil:
		cmd.done = refused("TRYCREATE")
		return cmd
	case m.gone > 0:
		cmd.done = refused("BADURL")
		return cmd
	}
	added := to.add([]content{made}, []flagSet{flagsOf(slices.Clone(names)...)})
	want := fmt.Sprintf("APPENDUID %d %d", to.validity, added[0].uid)
	cmd.done = func(f *flight) error { return f.wantWhole("OK", want) }
	return cmd
}
