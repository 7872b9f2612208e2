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
		if c.by == byEither { // else it may answer another command
			cmd.hear = c.hearEarlier(since, in)
		}
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

func quoted(name string) string { return `"` + name + `"` }
