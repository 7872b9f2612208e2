package imapmodel

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// notes are annotations by the names of their entries, in lower case (RFC 5464). The account's own belong to the mailbox "".
type notes map[string]string

var noteNames = []string{"/private/comment", "/Private/Comment", "/shared/comment", "/private/vendor/x/a", "/private/vendor/x/a/b", "/shared/vendor/x/c"}

// annotated gives where a mailbox has its annotations, nil if it is not there.
func (a *account) annotated(name string) notes {
	if name == "" {
		return a.notes
	}
	if b := a.boxes[canonical(name)]; b != nil {
		return b.notes
	}
	return nil
}

func (c *client) annotates(r *rand.Rand, g *game) *command {
	name := g.someName(r)
	if r.IntN(4) == 0 {
		name = ""
	}
	of := c.account.annotated(name)
	if r.IntN(2) == 0 {
		return c.readsNotes(r, name, of)
	}
	var pairs []string
	set := notes{}
	for range 1 + r.IntN(2) {
		entry := noteNames[r.IntN(len(noteNames))]
		if _, twice := set[strings.ToLower(entry)]; twice {
			continue
		}
		value, text := "", "NIL"
		if r.IntN(3) > 0 {
			value = strings.Repeat("n", 1+r.IntN(20))
			text = quoted(value)
		}
		pairs = append(pairs, entry+" "+text)
		set[strings.ToLower(entry)] = value
	}
	cmd := &command{text: "SETMETADATA " + quoted(name) + " (" + strings.Join(pairs, " ") + ")"}
	switch {
	case of == nil:
		cmd.done = refused("NONEXISTENT")
	case name == "" && slices.ContainsFunc(slices.Collect(maps.Keys(set)), func(entry string) bool { return strings.HasPrefix(entry, "/shared/") }):
		cmd.done = refused("NOPERM")
	default:
		if name == "" {
			name = inbox // which notes that there is something new
		}
		c.account.boxes[canonical(name)].modseq++
		for entry, value := range set {
			if of[entry] = value; value == "" {
				delete(of, entry)
			}
		}
	}
	return cmd
}

// readsNotes is GETMETADATA.
func (c *client) readsNotes(r *rand.Rand, name string, of notes) *command {
	options, depth, most := []string{}, 0, 1000
	if n := r.IntN(4); n < 2 {
		depth = n + 1
		options = append(options, "DEPTH "+[]string{"1", "infinity"}[n])
	}
	if r.IntN(3) == 0 {
		most = r.IntN(20)
		options = append(options, fmt.Sprint("MAXSIZE ", most))
	}
	entry := append([]string{"/private", "/shared/vendor", "/private/vendor/x"}, noteNames...)[r.IntN(3+len(noteNames))]
	cmd := &command{text: "GETMETADATA "}
	if len(options) > 0 {
		cmd.text += "(" + strings.Join(options, " ") + ") "
	}
	cmd.text += quoted(name) + " " + entry
	if of == nil {
		cmd.done = refused("NONEXISTENT")
		return cmd
	}
	want, longest := notes{}, 0
	for have, value := range of {
		rest, below := strings.CutPrefix(have, strings.ToLower(entry))
		levels := strings.Count(rest, "/")
		if !below || rest != "" && (rest[0] != '/' || depth == 0 || depth == 1 && levels > 1) {
			continue
		}
		if len(value) > most {
			longest = max(longest, len(value))
			continue
		}
		want[have] = value
	}
	if _, there := of[strings.ToLower(entry)]; depth == 0 && !there {
		want[strings.ToLower(entry)] = "NIL"
	}
	got, code := notes{}, ""
	if longest > 0 {
		code = fmt.Sprint("METADATA LONGENTRIES ", longest)
	}
	cmd.hear = func(resp *response) error {
		if resp.name != "METADATA" {
			return nil
		}
		if told := resp.values[0].text; told != canonical(name) {
			return fmt.Errorf("this is of %q", told)
		}
		pairs := resp.values[1].texts()
		for i := 0; i+1 < len(pairs); i += 2 {
			got[strings.ToLower(pairs[i])] = pairs[i+1]
		}
		return nil
	}
	cmd.done = func(f *flight) error {
		if !maps.Equal(got, want) {
			return fmt.Errorf("told %q, want %q", got, want)
		}
		return f.wantWhole("OK", code)
	}
	return cmd
}
