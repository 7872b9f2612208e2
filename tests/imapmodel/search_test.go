package imapmodel

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// key is a search key.
type key struct {
	text string
	// match tells whether a version of the message with index i in the list matches.
	match func(i int, m *message, v version) bool
	// stored: what is expunged cannot be found, although the client does not know.
	stored bool
	modseq bool
	// wide: it is not all in ASCII.
	wide bool
}

func flagKey(name, flag string, set bool) key {
	return key{text: name, match: func(_ int, _ *message, v version) bool { return v.flags.has(flag) == set }}
}

// key makes one for the selected mailbox.
func (c *client) key(r *rand.Rand, depth int) key {
	n := 16
	if depth > 0 {
		n = 20
	}
	switch r.IntN(n) {
	case 0, 1:
		a := c.aims(r)
		if a.saved || a.wrong(c) || !c.current() && strings.Contains(a.String(), "*") { // what "*" is may be told with the answer
			a = aim{uid: true, numberSet: numberSet{parts: [][2]uint32{{2, 4_000_000_000}}}}
		}
		return key{text: map[bool]string{true: "UID "}[a.uid] + a.String(), match: func(i int, m *message, _ version) bool { return a.means(c, i, &entry{msg: m}) }}
	case 2:
		since := r.Uint64N(c.box.modseq + 2)
		return key{text: fmt.Sprint("MODSEQ ", since), modseq: true, match: func(_ int, _ *message, v version) bool { return v.modseq >= since }}
	case 3:
		if c.saved != nil {
			saved := slices.Clone(c.saved)
			return key{text: "$", match: func(_ int, m *message, _ version) bool { return slices.Contains(saved, m) }}
		}
		return plainKey(r)
	case 16:
		return not(c.key(r, depth-1))
	case 17, 18:
		a, b := c.key(r, depth-1), c.key(r, depth-1)
		return a.with(b, "OR "+a.text+" "+b.text, func(x, y bool) bool { return x || y })
	case 19:
		a, b := c.key(r, depth-1), c.key(r, depth-1)
		return a.with(b, "("+a.text+" "+b.text+")", func(x, y bool) bool { return x && y })
	}
	return plainKey(r)
}

func not(k key) key {
	match := k.match
	k.text, k.match = "NOT "+k.text, func(i int, m *message, v version) bool { return !match(i, m, v) }
	return k
}

func (k key) with(o key, text string, both func(x, y bool) bool) key {
	return key{
		text: text, stored: k.stored || o.stored, modseq: k.modseq || o.modseq, wide: k.wide || o.wide,
		match: func(i int, m *message, v version) bool { return both(k.match(i, m, v), o.match(i, m, v)) },
	}
}

// could tells whether a message can, and whether it must be found, after what the client was told of it.
func (k key) could(i int, e *entry) (can, must bool) {
	must = true
	for _, v := range e.msg.versions[e.from:] {
		if k.match(i, e.msg, v) {
			can = true
		} else {
			must = false
		}
	}
	return can, must && (!k.stored || e.msg.gone == 0)
}

// found checks the numbers of an answer, which are in any order.
func (c *client) found(k key, uid bool, numbers []uint32) error {
	got := map[uint32]bool{}
	for _, n := range numbers {
		if got[n] {
			return fmt.Errorf("%d is there twice", n)
		}
		got[n] = true
	}
	for i, e := range c.list {
		n := uint32(i + 1)
		if e.msg == nil {
			if !uid {
				delete(got, n)
			}
			continue
		}
		if uid {
			n = e.msg.uid
		}
		can, must := k.could(i, e)
		if got[n] && !can || !got[n] && must {
			return fmt.Errorf("message %d, UID %d, is %v since %d", i+1, e.msg.uid, e.msg.versions, e.from)
		}
		delete(got, n)
	}
	for n := range got {
		if !uid || c.known() {
			return fmt.Errorf("there is no message %d", n)
		}
	}
	return nil
}

// matching gives what is found by a client that knows everything.
func (c *client) matching(k key) []*message {
	var out []*message
	for i, e := range c.list {
		if k.match(i, e.msg, e.msg.last()) {
			out = append(out, e.msg)
		}
	}
	return out
}

// returns are result options of SEARCH and SORT.
type returns struct {
	given                       bool
	low, high, all, count, save bool
	partial                     string
	from, to                    int  // of what is found
	last                        bool // counted from the end
}

// some gives what PARTIAL wants (RFC 9394 section 3.1).
func some[T any](o returns, all []T) []T {
	from, to := min(o.from, len(all)), min(o.to, len(all))
	if o.last {
		from, to = len(all)-to, len(all)-from
	}
	return all[from:to]
}

func (o *returns) randomPart(r *rand.Rand) {
	a, b := 1+r.IntN(4), 1+r.IntN(6)
	o.from, o.to = min(a, b)-1, max(a, b)
	o.partial = fmt.Sprint(a, ":", b)
	if o.last = r.IntN(3) == 0; o.last {
		o.partial = fmt.Sprintf("-%d:-%d", a, b)
	}
}

func randomReturns(r *rand.Rand) (o returns, text string) {
	if r.IntN(2) == 0 {
		return o, ""
	}
	o.given = true
	o.low, o.high, o.all, o.count, o.save = r.IntN(3) == 0, r.IntN(3) == 0, r.IntN(2) == 0, r.IntN(3) == 0, r.IntN(3) == 0
	if !o.all && r.IntN(3) == 0 {
		o.randomPart(r)
	}
	var words []string
	for word, on := range map[string]bool{"MIN": o.low, "MAX": o.high, "ALL": o.all, "COUNT": o.count, "SAVE": o.save, "PARTIAL " + o.partial: o.partial != ""} {
		if on {
			words = append(words, word)
		}
	}
	slices.Sort(words) // as maps are in no order
	return o, "RETURN (" + strings.Join(words, " ") + ") "
}

// part gives what of the result a client hears of, or has saved: with MIN, MAX or PARTIAL alone only those (RFC 5182 section 2.4).
func (o returns) part(found []*message) []*message {
	if o.all || o.count || !o.low && !o.high && o.partial == "" || len(found) == 0 {
		return found
	}
	var out []*message
	if o.low {
		out = append(out, found[0])
	}
	if o.high {
		out = append(out, found[len(found)-1])
	}
	if o.partial != "" {
		out = append(out, some(o, found)...)
	}
	return out
}

// want is the ESEARCH answer, without its tag.
func (o returns) want(numbers []uint32, uid bool, modseq uint64) string {
	out := ""
	if uid {
		out = " UID"
	}
	if len(numbers) > 0 {
		if o.low {
			out += fmt.Sprint(" MIN ", numbers[0])
		}
		if o.high {
			out += fmt.Sprint(" MAX ", numbers[len(numbers)-1])
		}
		if o.all || !o.low && !o.high && !o.count && o.partial == "" {
			out += " ALL " + ranges(numbers)
		}
	}
	if o.partial != "" {
		part := ranges(some(o, numbers))
		out += fmt.Sprintf(" PARTIAL (%s %s)", o.partial, cmp.Or(part, "NIL"))
	}
	if o.count {
		out += fmt.Sprint(" COUNT ", len(numbers))
	}
	if modseq > 0 {
		out += fmt.Sprint(" MODSEQ ", modseq)
	}
	return out
}

// search is SEARCH or SORT. A client that does not know everything only asks for all that is found.
func (c *client) search(r *rand.Rand) *command {
	uid := c.usesUIDs(r)
	k := c.key(r, 2)
	o, text := randomReturns(r)
	if !c.current() || c.by != byEither && o.save {
		o, text = returns{}, ""
	}
	var order *sortOrder
	verb := "SEARCH "
	if r.IntN(4) == 0 {
		s := randomOrder(r)
		order, verb = &s, "SORT "
	}
	cmd := &command{text: aim{uid: uid}.prefix() + verb + text, numbered: !uid}
	if order != nil {
		cmd.text += "(" + order.text + ") UTF-8 "
	} else if k.wide {
		cmd.text += "CHARSET UTF-8 "
	}
	cmd.text += k.text
	if k.modseq {
		c.condstore = true
	}
	exact := c.current()
	var found []*message
	if exact {
		found = c.matching(k)
		if order != nil {
			slices.SortStableFunc(found, order.compare)
		}
	}
	part := o.part(found)
	var highest, highestPart uint64
	for _, m := range found {
		highest = max(highest, m.last().modseq)
	}
	for _, m := range part {
		if k.modseq {
			highestPart = max(highestPart, m.last().modseq)
		}
	}
	if o.save {
		c.saved = append([]*message{}, part...)
	}
	silent := o.given && o.save && !o.low && !o.high && !o.all && !o.count && o.partial == ""
	answered := false
	cmd.hear = func(resp *response) error {
		if resp.name != "SEARCH" && resp.name != "SORT" && resp.name != "ESEARCH" {
			return nil
		}
		if answered {
			return errors.New("a second answer")
		}
		answered = true
		if resp.name == "ESEARCH" {
			if !exact {
				_, numbers, err := esearch(resp)
				if err != nil {
					return err
				}
				return c.found(k, uid, numbers)
			}
			got, _, err := esearch(resp)
			if want := o.want(c.numbersOf(found, uid), uid, highestPart); err == nil && got != want {
				err = fmt.Errorf("want%s", want)
			}
			return err
		}
		return c.plain(resp, k, uid, order, exact, found, highest)
	}
	cmd.done = func(f *flight) error {
		if !answered && !silent {
			return errors.New("no answer")
		}
		return f.want("OK", "")
	}
	return cmd
}

// plain checks a SEARCH or SORT response.
func (c *client) plain(resp *response, k key, uid bool, order *sortOrder, exact bool, found []*message, highest uint64) error {
	var numbers []uint32
	for _, v := range resp.values {
		if v.list != nil {
			continue // (MODSEQ n)
		}
		n, err := v.number()
		if err != nil {
			return err
		}
		numbers = append(numbers, uint32(n))
	}
	if !exact {
		if order != nil {
			slices.Sort(numbers) // their order is checked where all is known
		}
		return c.found(k, uid, numbers)
	}
	if want := c.numbersOf(found, uid); !slices.Equal(numbers, want) {
		return fmt.Errorf("want %v", want)
	}
	last := len(resp.values) - 1
	told := last >= 0 && resp.values[last].list != nil
	if told != (k.modseq && len(found) > 0) || told && resp.values[last].list[1].text != fmt.Sprint(highest) {
		return fmt.Errorf("MODSEQ is %d", highest)
	}
	return nil
}

// esearch gives an ESEARCH response without its tag, and the numbers of ALL.
func esearch(r *response) (text string, all []uint32, err error) {
	for i, v := range r.values[1:] {
		switch {
		case v.list != nil:
			text += " (" + strings.Join(v.texts(), " ") + ")"
		default:
			text += " " + v.text
		}
		if v.text == "ALL" {
			all, err = expand(r.values[i+2].text)
		}
	}
	return text, all, err
}

func (c *client) numbersOf(messages []*message, uid bool) []uint32 {
	out := uidsOf(messages)
	for i, m := range messages {
		if !uid {
			out[i] = uint32(slices.IndexFunc(c.list, func(e *entry) bool { return e.msg == m }) + 1)
		}
	}
	return out
}
