package imapmodel

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// multiSearch is RFC 7377: ESEARCH in several mailboxes, of each of which only those are told of in which something was found. In the selected
// one it finds what the client knows of.
func (c *client) multiSearch(r *rand.Rand, g *game) *command {
	k := plainKey(r)
	if r.IntN(3) == 0 {
		o := plainKey(r)
		k = k.with(o, "OR "+k.text+" "+o.text, func(x, y bool) bool { return x || y })
	}
	o, returns := randomReturns(r)
	for o.save || o.partial != "" {
		o, returns = randomReturns(r)
	}
	source, in := c.sources(r, g)
	cmd := &command{text: "ESEARCH IN (" + source + ") " + returns}
	if k.wide {
		cmd.text += "CHARSET UTF-8 "
	}
	cmd.text += k.text
	want := map[string]string{}
	for name, b := range c.account.boxes {
		if !in(name) {
			continue
		}
		var found []*message
		for _, m := range b.now() {
			if k.match(0, m, m.last()) {
				found = append(found, m)
			}
		}
		if len(found) > 0 {
			want[name] = fmt.Sprintf("MAILBOX %s UIDVALIDITY %d%s", name, b.validity, o.want(uidsOf(found), true, 0))
		}
	}
	got := map[string]string{}
	cmd.hear = func(resp *response) error {
		if resp.name != "ESEARCH" {
			return nil
		}
		head, rest := resp.values[0].list, resp.values[1:]
		if len(head) < 4 || head[2].text != "MAILBOX" {
			return errors.New("no mailbox is told")
		}
		text := strings.Join(value{list: head[2:]}.texts(), " ")
		for _, v := range rest {
			text += " " + v.text
		}
		if got[head[3].text] != "" {
			return errors.New("a second answer")
		}
		got[head[3].text] = text
		return nil
	}
	cmd.done = func(f *flight) error {
		if !maps.Equal(got, want) {
			return fmt.Errorf("told %q, want %q", got, want)
		}
		return f.want("OK", "")
	}
	return cmd
}

// sources says where ESEARCH looks (RFC 7377 section 2.2).
func (c *client) sources(r *rand.Rand, g *game) (text string, in func(name string) bool) {
	name, other := g.someName(r), g.someName(r)
	a, b := canonical(name), canonical(other)
	below := func(box, top string) (string, bool) {
		rest, ok := strings.CutPrefix(box, top+"/")
		return rest, ok || box == top
	}
	switch n := r.IntN(8); {
	case n == 0 && c.box != nil:
		selected := c.box.name
		return "selected", func(box string) bool { return box == selected }
	case n == 1:
		return "inboxes", func(box string) bool { return box == inbox }
	case n == 2:
		subscribed := maps.Clone(c.account.subscribed)
		return "subscribed", func(box string) bool { return subscribed[box] }
	case n == 3:
		return "mailboxes (" + quoted(name) + " " + quoted(other) + ")", func(box string) bool { return box == a || box == b }
	case n == 4:
		return "subtree " + quoted(name), func(box string) bool { _, ok := below(box, a); return ok }
	case n == 5:
		return "subtree-one " + quoted(name), func(box string) bool {
			rest, ok := below(box, a)
			return ok && !strings.Contains(rest, "/") || box == a
		}
	case n == 6:
		return "mailboxes " + quoted(name) + " inboxes", func(box string) bool { return slices.Contains([]string{a, inbox}, box) }
	}
	return "personal", func(string) bool { return true }
}
