package imapmodel

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// The commands by which messages come and go. Each changes the model at once, as those of messages_test.go do.

func (c *client) expunge(r *rand.Rand) *command {
	cmd := &command{text: "EXPUNGE"}
	chosen := c.box.now()
	if r.IntN(3) == 0 {
		a := c.aims(r)
		a.uid = true
		if !a.saved {
			a.numberSet = randomSet(r, c.choice(r, true), c.by == byEither)
		}
		cmd.text = fmt.Sprintf("UID EXPUNGE %s", a)
		if chosen = messagesOf(a.entries(c)); len(chosen) == 0 {
			return cmd
		}
	}
	if c.readOnly {
		cmd.done = func(f *flight) error { return f.want("NO", "CANNOT") }
		if cmd.text != "EXPUNGE" {
			cmd.done = c.unlessNone(chosen, "CANNOT")
		}
		return cmd
	}
	gone := c.box.expunge(slices.DeleteFunc(chosen, func(m *message) bool { return !m.flags().has(`\Deleted`) }))
	cmd.done = c.removed(gone)
	return cmd
}

// unlessNone expects NO, or OK if all messages are gone and the client may be told so by a command that is sent just before.
func (c *client) unlessNone(messages []*message, code string) func(f *flight) error {
	none := c.by != byEither && !slices.ContainsFunc(messages, func(m *message) bool { return m.gone == 0 })
	return func(f *flight) error {
		if none && f.status == "OK" {
			return nil
		}
		return f.want("NO", code)
	}
}

// removed checks the answer to a command that removed messages: the client was told of all that is gone.
func (c *client) removed(gone []*message) func(f *flight) error {
	box, modseq := c.box, c.box.modseq
	return func(f *flight) error {
		want := ""
		if c.qresync && len(gone) > 0 {
			want = fmt.Sprintf("HIGHESTMODSEQ %d", modseq)
		}
		if c.box == box && box.modseq != modseq {
			return f.want("OK", "*") // more was sent at once
		}
		if c.qresync && f.code != "" { // it may be told without need, too
			want = fmt.Sprintf("HIGHESTMODSEQ %d", modseq)
		}
		for _, e := range c.list {
			if slices.Contains(gone, e.msg) {
				return fmt.Errorf("the client was not told that UID %d is gone", e.msg.uid)
			}
		}
		return f.wantWhole("OK", want)
	}
}

func (c *client) copyOrMove(r *rand.Rand, g *game) *command {
	a, name, move := c.aims(r), g.someName(r), r.IntN(2) == 0
	verb := map[bool]string{true: "MOVE", false: "COPY"}[move]
	cmd := &command{text: fmt.Sprintf("%s%s %s %s", a.prefix(), verb, a, quoted(name))}
	to, from := c.account.boxes[canonical(name)], c.box
	entries := a.entries(c)
	switch {
	case a.wrong(c):
		cmd.done = func(f *flight) error { return f.want("BAD", "") }
		return cmd
	case len(entries) == 0:
		if to == nil { // which is found out also for no message
			cmd.done = func(f *flight) error { return f.want("NO", "TRYCREATE") }
		}
		return cmd
	case move && c.readOnly:
		cmd.done = c.unlessNone(messagesOf(entries), "CANNOT")
		if to == nil && c.by != byEither {
			cmd.done = func(f *flight) error { return f.want("NO", "*") } // TRYCREATE, if none is left
		}
		return cmd
	case to == nil:
		cmd.done = c.unlessNone(messagesOf(entries), "TRYCREATE")
		return cmd
	}
	sources, copies := from.copyTo(to, messagesOf(entries))
	copied := ""
	if len(sources) > 0 {
		copied = fmt.Sprintf("COPYUID %d %s %s", to.validity, ranges(uidsOf(sources)), ranges(uidsOf(copies)))
	}
	if !move {
		cmd.done = func(f *flight) error { return f.wantWhole("OK", copied) }
		return cmd
	}
	gone := from.expunge(sources)
	cmd.done = c.removed(gone)
	heard, alone := false, c.by == byEither
	cmd.hear = func(r *response) error {
		switch got := code(r.status); {
		case got == copied && got != "":
			heard = true
		case strings.HasPrefix(got, "COPYUID ") && alone:
			return fmt.Errorf("want %s", copied)
		case alone && (r.name == "EXPUNGE" || r.name == "VANISHED") && len(gone) > 0 && !heard: // RFC 6851 section 4.3
			return errors.New("COPYUID comes before it")
		}
		return nil
	}
	check := cmd.done
	cmd.done = func(f *flight) error {
		if len(gone) > 0 && !heard {
			return errors.New("no COPYUID came")
		}
		return check(f)
	}
	return cmd
}

func (c *client) append(r *rand.Rand, g *game) *command {
	name := g.someName(r)
	if c.box != nil && r.IntN(2) == 0 {
		name = c.box.name
	}
	to := c.account.boxes[canonical(name)]
	cmd := &command{text: "APPEND " + quoted(name)}
	var contents []content
	var flags []flagSet
	for range 1 + max(0, r.IntN(6)-3) {
		one, set, text := upload(r)
		contents, flags, cmd.text = append(contents, one), append(flags, set), cmd.text+text
	}
	if to == nil {
		cmd.done = func(f *flight) error { return f.want("NO", "TRYCREATE") }
		return cmd
	}
	added := to.add(contents, flags)
	want := fmt.Sprintf("APPENDUID %d %s", to.validity, ranges(uidsOf(added)))
	cmd.done = func(f *flight) error { return f.wantWhole("OK", want) }
	return cmd
}

// replace is RFC 8508.
func (c *client) replace(r *rand.Rand, g *game) *command {
	name := g.someName(r)
	if r.IntN(2) == 0 {
		name = c.box.name
	}
	uid := c.usesUIDs(r)
	i := r.IntN(len(c.list) + 1)
	number := uint32(i + 1)
	if uid && i < len(c.list) {
		number = c.list[i].msg.uid
	} else if uid {
		number = c.box.next + 3
	}
	one, flags, text := upload(r)
	cmd := &command{text: fmt.Sprintf("%sREPLACE %d %s%s", aim{uid: uid}.prefix(), number, quoted(name), text)}
	to := c.account.boxes[canonical(name)]
	refuse := func(status, code string) *command {
		cmd.done = func(f *flight) error { return f.want(status, code) }
		return cmd
	}
	switch {
	case c.readOnly:
		return refuse("NO", "CANNOT")
	case i == len(c.list) && uid:
		return refuse("NO", "NONEXISTENT")
	case i == len(c.list):
		return refuse("BAD", "")
	case to == nil && c.by != byEither && c.list[i].msg.gone > 0: // perhaps by a command that was sent just before
		return refuse("NO", "*")
	case to == nil:
		return refuse("NO", "TRYCREATE")
	case c.list[i].msg.gone > 0 && uid:
		return refuse("NO", "NONEXISTENT")
	case c.list[i].msg.gone > 0:
		return refuse("NO", "EXPUNGEISSUED")
	}
	added := to.add([]content{one}, []flagSet{flags})
	want := fmt.Sprintf("OK APPENDUID %d %d", to.validity, added[0].uid)
	cmd.done = c.removed(c.box.expunge([]*message{c.list[i].msg}))
	check := cmd.done
	cmd.done = func(f *flight) error {
		at := slices.Index(f.order, want)
		if at < 0 || !slices.ContainsFunc(f.order[at:], func(n string) bool { return n == "EXPUNGE " || n == "VANISHED " }) { // RFC 8508 section 4.3
			return fmt.Errorf("want %s, and then EXPUNGE: %q", want, f.order)
		}
		return check(f)
	}
	return cmd
}
