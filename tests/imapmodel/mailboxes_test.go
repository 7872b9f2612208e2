package imapmodel

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
)

// The commands on mailboxes.

func (c *client) selects(r *rand.Rand, g *game) *command {
	name := g.someName(r)
	verb := []string{"SELECT", "SELECT", "EXAMINE"}[r.IntN(3)]
	cmd := &command{text: verb + " " + quoted(name)}
	to := c.account.boxes[canonical(name)]
	var since uint64
	known := func(uint32) bool { return true }
	resyncs := c.qresync && to != nil && r.IntN(2) == 0
	if resyncs {
		since = 1 + r.Uint64N(to.modseq+1)
		validity := to.validity
		if r.IntN(8) == 0 {
			validity, resyncs = validity+1000, false
		}
		param := fmt.Sprintf("%d %d", validity, since)
		if some := randomSet(r, []uint32{1, 2, 3, to.next, to.next + 1}, false); r.IntN(3) == 0 {
			param += " " + some.String()
			known = func(uid uint32) bool { return some.has(uid, 0) }
		}
		cmd.text += " (QRESYNC (" + param + "))"
	} else if r.IntN(8) == 0 && to != nil {
		c.condstore = true
		cmd.text += " (CONDSTORE)"
	}
	cmd.earlier = true
	selected := c.box != nil
	closed := false
	codes := map[string]string{}
	begin := func() {
		c.deselect()
		if c.box = to; to != nil {
			c.readOnly = verb == "EXAMINE"
		}
	}
	if !selected {
		begin()
	}
	earlier := ""
	cmd.hear = func(resp *response) error {
		word, rest, _ := strings.Cut(code(resp.status), " ")
		switch {
		case word == "CLOSED":
			if !selected {
				return errors.New("nothing was selected")
			}
			closed = true
			begin()
		case resp.name == "OK":
			codes[word] = rest
		case resp.name == "VANISHED":
			earlier = resp.values[1].text
		case resp.name == "LIST":
			codes["LIST"] = resp.values[2].text
		case resp.name == "EXISTS":
			return c.settle() // sequence numbers are those of the messages that are there
		}
		return nil
	}
	cmd.done = func(f *flight) error {
		if selected != closed {
			return errors.New("CLOSED is missing")
		}
		if to == nil {
			return f.want("NO", "NONEXISTENT")
		}
		want := map[string]string{
			"UIDVALIDITY": fmt.Sprint(to.validity), "UIDNEXT": fmt.Sprint(to.next), "HIGHESTMODSEQ": fmt.Sprint(to.modseq),
		}
		if c.rev2 {
			want["LIST"] = to.name
		} else if i := slices.IndexFunc(to.now(), func(m *message) bool { return !m.flags().has(`\Seen`) }); i >= 0 && !c.uidOnly {
			want["UNSEEN"] = fmt.Sprint(i + 1)
		}
		for _, word := range []string{"UIDVALIDITY", "UIDNEXT", "HIGHESTMODSEQ", "LIST", "UNSEEN"} {
			if codes[word] != want[word] {
				return fmt.Errorf("%s is %q, want %q", word, codes[word], want[word])
			}
		}
		if err := c.settle(); err != nil {
			return err
		}
		if resyncs {
			if want := ranges(c.earlier(since, known)); earlier != want {
				return fmt.Errorf("what vanished since %d is %q, not %q", since, want, earlier)
			}
		} else if earlier != "" || len(f.heard) > 0 {
			return errors.New("nobody asked for changes")
		}
		for _, m := range to.now() {
			if told := f.heard[m] != nil && f.heard[m].flags; told != (resyncs && m.last().modseq > since && known(m.uid)) {
				return fmt.Errorf("UID %d, of %d, is told: %v", m.uid, m.last().modseq, told)
			}
		}
		return f.want("OK", map[bool]string{true: "READ-ONLY", false: "READ-WRITE"}[c.readOnly])
	}
	return cmd
}

// leave is CLOSE or UNSELECT.
func (c *client) leave(r *rand.Rand) *command {
	box, expunges := c.box, !c.readOnly && r.IntN(2) == 0
	cmd := &command{text: map[bool]string{true: "CLOSE", false: "UNSELECT"}[expunges || c.readOnly && r.IntN(2) == 0]}
	if expunges {
		box.expunge(slices.DeleteFunc(box.now(), func(m *message) bool { return !m.flags().has(`\Deleted`) }))
	}
	cmd.hear = func(resp *response) error {
		if resp.name == "EXPUNGE" || resp.name == "VANISHED" {
			return errors.New("nothing is told when a mailbox is left")
		}
		return nil
	}
	cmd.done = func(f *flight) error {
		c.deselect()
		return f.want("OK", "")
	}
	return cmd
}

// refused expects a code in an answer NO, or OK if there is none.
func refused(want string) func(f *flight) error {
	return func(f *flight) error {
		if want == "" {
			return f.want("OK", "*")
		}
		return f.want("NO", want)
	}
}

func (c *client) manage(r *rand.Rand, g *game) *command {
	name := g.someName(r)
	switch r.IntN(5) {
	case 0:
		slash := map[bool]string{true: "/"}[r.IntN(4) == 0]
		return &command{text: "CREATE " + quoted(name+slash), done: refused(c.account.create(canonical(name)))}
	case 1:
		own := c.box != nil && c.box == c.account.boxes[canonical(name)]
		cmd := &command{text: "DELETE " + quoted(name), done: refused(c.account.remove(canonical(name)))}
		if own && c.box.deleted {
			check := cmd.done
			cmd.done = func(f *flight) error {
				if c.box != nil {
					return errors.New("CLOSED is missing")
				}
				return check(f)
			}
		}
		return cmd
	case 2:
		to := g.someName(r)
		return &command{text: "RENAME " + quoted(name) + " " + quoted(to), done: refused(c.account.rename(canonical(name), canonical(to)))}
	case 3:
		c.account.subscribed[canonical(name)] = true
		return &command{text: "SUBSCRIBE " + quoted(name)}
	}
	delete(c.account.subscribed, canonical(name))
	return &command{text: "UNSUBSCRIBE " + quoted(name)}
}

// listed is what LIST or LSUB tells of a name.
type listed struct{ nonExistent, noSelect, subscribed, hasChildren, childInfo bool }

// matches is RFC 9051 section 6.3.9, for patterns with "*" and "%".
func matches(pattern, name string) bool {
	expr := strings.NewReplacer(`\*`, ".*", "%", "[^/]*").Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile("^" + expr + "$").MatchString(name)
}

func (c *client) lists(r *rand.Rand) *command {
	pattern := []string{"*", "%", "A*", "A/%", "%/%", "INBOX", "B/C"}[r.IntN(7)]
	a := c.account
	// below are the names above a subscribed one. True: the pattern leaves out one of those (RFC 5258 section 3.5).
	below := map[string]bool{}
	for name := range a.subscribed {
		for _, p := range parents(name) {
			below[p] = below[p] || !matches(pattern, name)
		}
	}
	want := map[string]listed{}
	var text string
	names := slices.Concat(slices.Collect(maps.Keys(a.boxes)), slices.Collect(maps.Keys(a.subscribed)), slices.Collect(maps.Keys(below)))
	switch kind := r.IntN(4); kind {
	case 0:
		text = fmt.Sprintf(`LSUB "" %q`, pattern)
		for _, name := range names {
			_, above := below[name]
			if matches(pattern, name) && (a.subscribed[name] || above && strings.HasSuffix(pattern, "%")) {
				want[name] = listed{noSelect: !a.subscribed[name]}
			}
		}
	case 1:
		text = fmt.Sprintf(`LIST "" %q`, pattern)
		for _, name := range names {
			if matches(pattern, name) && a.boxes[name] != nil {
				want[name] = listed{hasChildren: a.hasChildren(name)}
			}
		}
	default:
		recursive := kind == 3
		text = fmt.Sprintf(`LIST (SUBSCRIBED%s) "" %q`, map[bool]string{true: " RECURSIVEMATCH"}[recursive], pattern)
		for _, name := range names {
			if matches(pattern, name) && (a.subscribed[name] || recursive && below[name]) {
				_, above := below[name]
				want[name] = listed{
					nonExistent: a.boxes[name] == nil, subscribed: a.subscribed[name], hasChildren: a.hasChildren(name), childInfo: recursive && above,
				}
			}
		}
	}
	got := map[string]listed{}
	return &command{
		text: text,
		hear: func(resp *response) error {
			if resp.name != "LIST" && resp.name != "LSUB" {
				return nil
			}
			attrs := resp.values[0].texts()
			name := resp.values[2].text
			if _, twice := got[name]; twice {
				return errors.New("it was told before")
			}
			got[name] = listed{
				slices.Contains(attrs, `\NonExistent`), slices.Contains(attrs, `\Noselect`), slices.Contains(attrs, `\Subscribed`),
				slices.Contains(attrs, `\HasChildren`), len(resp.values) > 3,
			}
			return nil
		},
		done: func(f *flight) error {
			if !maps.Equal(got, want) {
				return fmt.Errorf("told %+v, want %+v", got, want)
			}
			return f.want("OK", "")
		},
	}
}

func (c *client) status(r *rand.Rand, g *game) *command {
	name := g.someName(r)
	b := c.account.boxes[canonical(name)]
	items := []string{"MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE"}
	if c.condstore || r.IntN(4) == 0 {
		items = append(items, "HIGHESTMODSEQ")
	}
	cmd := &command{text: "STATUS " + quoted(name) + " (" + strings.Join(items, " ") + ")"}
	if b == nil {
		cmd.done = func(f *flight) error { return f.want("NO", "NONEXISTENT") }
		return cmd
	}
	c.condstore = c.condstore || len(items) == 7
	messages, octets := b.count(func(*message) bool { return true })
	unseen, _ := b.count(func(m *message) bool { return !m.flags().has(`\Seen`) })
	deleted, _ := b.count(func(m *message) bool { return m.flags().has(`\Deleted`) })
	want := fmt.Sprintf("MESSAGES %d UIDNEXT %d UIDVALIDITY %d UNSEEN %d DELETED %d SIZE %d", messages, b.next, b.validity, unseen, deleted, octets)
	if len(items) == 7 {
		want += fmt.Sprint(" HIGHESTMODSEQ ", b.modseq)
	}
	answered := false
	cmd.hear = func(resp *response) error {
		if resp.name != "STATUS" || !slices.Contains(resp.values[1].texts(), "DELETED") { // NOTIFY does not tell that
			return nil
		}
		answered = true
		if got := strings.Join(resp.values[1].texts(), " "); got != want {
			return fmt.Errorf("want %s", want)
		}
		return nil
	}
	cmd.done = func(f *flight) error {
		if !answered {
			return errors.New("no answer")
		}
		return f.want("OK", map[bool]string{true: "CLIENTBUG"}[b == c.box]) // which knows that already (RFC 9051 section 6.3.11)
	}
	return cmd
}
