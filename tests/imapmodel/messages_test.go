package imapmodel

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// The commands on messages of the selected mailbox. Each changes the model at once, and says what is to be answered.

var flagNames = []string{`\Seen`, `\Flagged`, `\Answered`, `\Deleted`, `\Deleted`, `\Draft`, "$Junk", "Work", "work", "$Forwarded"}

func randomFlags(r *rand.Rand, atLeast int) []string {
	var out []string
	for range atLeast + r.IntN(3) {
		out = append(out, flagNames[r.IntN(len(flagNames))])
	}
	return out
}

func (c *client) fetch(r *rand.Rand) *command {
	a := c.aims(r)
	items := [][]string{
		{"FLAGS"}, {"UID", "FLAGS"}, {"FLAGS", "INTERNALDATE", "RFC822.SIZE"}, {"MODSEQ"}, {"UID", "FLAGS", "MODSEQ"},
		{"BODY.PEEK[HEADER.FIELDS (SUBJECT)]"}, {"FLAGS", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]"}, {"RFC822.SIZE", "BODY[TEXT]"},
	}[r.IntN(map[bool]int{true: 8, false: 7}[c.readOnly || c.current()])] // \Seen is set where the client was not told of it
	stored := slices.ContainsFunc(items, func(i string) bool { return strings.HasPrefix(i, "BODY") })
	cmd := &command{fetches: true, numbered: !a.uid}
	since, vanished := uint64(0), false
	cmd.text = fmt.Sprintf("%sFETCH %s (%s)", a.prefix(), a, strings.Join(items, " "))
	var modifiers []string
	var part *returns
	if a.uid && c.current() && c.by == byEither && r.IntN(6) == 0 { // RFC 9394 section 3.3
		part = &returns{}
		part.randomPart(r)
		modifiers = append(modifiers, "PARTIAL "+part.partial)
	}
	if r.IntN(4) == 0 && c.current() {
		since = r.Uint64N(c.box.modseq + 2)
		vanished = a.uid && c.qresync && part == nil && r.IntN(2) == 0
		modifiers = append(modifiers, fmt.Sprintf("CHANGEDSINCE %d%s", since, map[bool]string{true: " VANISHED"}[vanished]))
		items = append(items, "MODSEQ")
	}
	if len(modifiers) > 0 {
		cmd.text += " (" + strings.Join(modifiers, " ") + ")"
	}
	c.condstore = c.condstore || slices.Contains(items, "MODSEQ")
	if a.wrong(c) {
		cmd.done = func(f *flight) error {
			if !a.wrong(c) && f.status == "OK" {
				return nil // the client was told of more messages first
			}
			return f.want("BAD", "")
		}
		return cmd
	}
	before := a.entries(c)
	if part != nil {
		before = some(*part, before)
	}
	meant := messagesOf(before)
	if since > 0 || strings.Contains(cmd.text, "CHANGEDSINCE") {
		before = slices.DeleteFunc(before, func(e *entry) bool { return e.msg.last().modseq <= since })
	}
	if slices.Contains(items, "BODY[TEXT]") && !c.readOnly {
		c.box.store(messagesOf(before), "+", `\seen`)
	}
	cmd.earlier = vanished
	someVanished := false
	if vanished {
		in := func(uid uint32) bool { return !a.saved && a.has(uid, c.box.next-1) }
		someVanished = len(c.earlier(since, in)) > 0
		cmd.hear = c.hearEarlier(since, in)
	}
	missing := stored && anyGone(messagesOf(before))
	cmd.done = func(f *flight) error {
		if missing && !a.uid && (f.status != "OK" || !strings.Contains(a.String(), "*")) { // which may be told to be another one first
			return f.want("NO", "EXPUNGEISSUED")
		}
		if err := f.want("OK", ""); err != nil {
			return err
		}
		if someVanished && !slices.Contains(f.order, "VANISHED ") {
			return errors.New("VANISHED (EARLIER) is missing")
		}
		for m := range f.heard {
			if part != nil && !slices.Contains(meant, m) {
				return fmt.Errorf("UID %d is not in that part", m.uid)
			}
		}
		for _, e := range before {
			i := slices.Index(c.list, e)
			if i < 0 || stored && e.msg.gone > 0 || !a.means(c, i, e) {
				continue
			}
			if err := f.told(e.msg, items, a.uid && !c.uidOnly); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// told checks that all items of a message came.
func (f *flight) told(m *message, items []string, uid bool) error {
	h := f.heard[m]
	if uid {
		items = append([]string{"UID"}, items...)
	}
	for _, item := range items {
		name := strings.Replace(item, ".PEEK", "", 1)
		if h == nil {
			return fmt.Errorf("nothing was told of UID %d", m.uid)
		}
		if _, ok := h.items[name]; !ok {
			return fmt.Errorf("%s of UID %d was not told", name, m.uid)
		}
		if item == "BODY[TEXT]" && h.items[name].text != m.text.stored {
			return fmt.Errorf("the text of UID %d is %q", m.uid, h.items[name].text)
		}
	}
	return nil
}

// earlier gives the UIDs of a set that are gone since a modification sequence.
func (c *client) earlier(since uint64, in func(uid uint32) bool) []uint32 {
	var out []uint32
	for _, m := range c.box.all {
		if m.gone > since && in(m.uid) {
			out = append(out, m.uid)
		}
	}
	return out
}

// hearEarlier checks VANISHED (EARLIER), which tells all at once.
func (c *client) hearEarlier(since uint64, in func(uid uint32) bool) func(r *response) error {
	want := ranges(c.earlier(since, in))
	return func(r *response) error {
		if r.name != "VANISHED" || len(r.values) < 2 {
			return nil
		}
		if r.values[1].text != want {
			return fmt.Errorf("what vanished since %d is %q", since, want)
		}
		return nil
	}
}

func (c *client) store(r *rand.Rand) *command {
	a := c.aims(r)
	op, silent, names := []string{"+", "-", ""}[r.IntN(3)], r.IntN(2) == 0 && c.by == byEither, randomFlags(r, r.IntN(2))
	flags := flagsOf(slices.Clone(names)...)
	cmd := &command{numbered: !a.uid}
	var since *uint64
	condition := ""
	if r.IntN(3) == 0 {
		n := r.Uint64N(c.box.modseq + 2)
		since, condition = &n, fmt.Sprintf(" (UNCHANGEDSINCE %d)", n)
	}
	cmd.text = fmt.Sprintf("%sSTORE %s%s %sFLAGS%s (%s)", a.prefix(), a, condition, op, map[bool]string{true: ".SILENT"}[silent], strings.Join(names, " "))
	switch {
	case c.readOnly:
		cmd.done = func(f *flight) error { return f.want("NO", "CANNOT") }
		return cmd
	case a.wrong(c):
		c.condstore = c.condstore || since != nil
		cmd.done = func(f *flight) error { return f.want("BAD", "") }
		return cmd
	}
	c.condstore = c.condstore || since != nil
	entries := a.entries(c)
	missing := !a.uid && anyGone(messagesOf(entries))
	var failed, done []*entry
	for _, e := range entries {
		switch {
		case e.msg.gone > 0:
		case since != nil && e.msg.last().modseq > *since:
			failed = append(failed, e)
		default:
			done = append(done, e)
		}
	}
	failedCode := ""
	if len(failed) > 0 {
		failedCode = "MODIFIED " + c.numbers(failed, a.uid)
	}
	changed := c.box.store(messagesOf(done), op, flags)
	versions := make([]int, len(done))
	for i, e := range done {
		versions[i] = len(e.msg.versions) - 1
	}
	told := c.condstore
	cmd.done = func(f *flight) error {
		var err error
		switch {
		case missing && failedCode != "":
			err = f.wantWhole("NO", failedCode)
		case missing:
			err = f.want("NO", "EXPUNGEISSUED")
		default:
			err = f.wantWhole("OK", failedCode)
		}
		for i, e := range done {
			if err == nil {
				wanted := told && (since != nil || slices.Contains(changed, e.msg))
				err = c.stored(f, e, versions[i], op, flags, silent, wanted)
			}
		}
		return err
	}
	return cmd
}

// stored checks what a STORE has told of a message, and concludes what a client concludes that was told nothing.
func (c *client) stored(f *flight, e *entry, at int, op string, flags flagSet, silent, modseq bool) error {
	h := f.heard[e.msg]
	if h == nil {
		h = &heard{}
	}
	v := e.msg.versions[at]
	switch {
	case !silent && !h.flags:
		return fmt.Errorf("the flags of UID %d were not told", e.msg.uid)
	case modseq && h.modseq < v.modseq:
		return fmt.Errorf("the MODSEQ of UID %d, %d, was not told", e.msg.uid, v.modseq)
	}
	if !h.flags && (e.told || op == "") {
		e.told, e.flags = true, e.flags.apply(op, flags)
	}
	if h.flags && at == len(e.msg.versions)-1 && e.flags != v.flags {
		return fmt.Errorf("UID %d has (%s)", e.msg.uid, v.flags)
	}
	e.from = max(e.from, at)
	return nil
}

// wantWhole is want with the response code's arguments.
func (f *flight) wantWhole(status, code string) error {
	if f.status != status || f.code != code {
		return fmt.Errorf("want %s [%s]", status, code)
	}
	return nil
}

// numbers writes entries as a set of UIDs or sequence numbers.
func (c *client) numbers(entries []*entry, uid bool) string {
	out := make([]uint32, len(entries))
	for i, e := range entries {
		if out[i] = uint32(slices.Index(c.list, e) + 1); uid {
			out[i] = e.msg.uid
		}
	}
	return ranges(out)
}

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
		return cmd
	case move && c.readOnly:
		cmd.done = c.unlessNone(messagesOf(entries), "CANNOT")
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

func quoted(name string) string { return `"` + name + `"` }
