package imapmodel

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// sharedBox is a mailbox that somebody shares, or the INBOX of the guest.
type sharedBox struct {
	own, name string // as the owner and as the guest call it
	mine      string // the rights of the guest by name; of his own INBOX all
	anyone    string // those of all
	next      uint32
	flags     map[uint32]flagSet // by UID
}

func (b *sharedBox) has(rights string) bool {
	return !strings.ContainsFunc(rights, func(right rune) bool { return !strings.ContainsRune(b.mine+b.anyone, right) })
}

// visible and writable are RFC 4314 section 4 (MYRIGHTS) and section 5.2.
func (b *sharedBox) visible() bool  { return strings.ContainsAny(b.mine+b.anyone, "lrikxa") }
func (b *sharedBox) writable() bool { return strings.ContainsAny(b.mine+b.anyone, "swtie") }

// refusal is the code of what is not permitted: who may not know of a mailbox hears that there is none.
func (b *sharedBox) refusal(unknown string) string {
	if b.has("l") {
		return "NOPERM"
	}
	return unknown
}

// permitted gives those of the flags that the guest may change.
func (b *sharedBox) permitted(flags flagSet) flagSet {
	return flagsOf(slices.DeleteFunc(flags.names(), func(name string) bool {
		right, ok := map[string]string{`\seen`: "s", `\deleted`: "t"}[name]
		if !ok {
			right = "w"
		}
		return !b.has(right)
	})...)
}

func (b *sharedBox) add(flags flagSet) {
	b.flags[b.next] = flags
	b.next++
}

// sharing is a game of an owner and a guest.
type sharing struct {
	owner, guest *actor
	grantee      string
	boxes        []*sharedBox
}

// letters are the rights in their order.
const letters = "lrswipkxtea"

func randomRights(r *rand.Rand) string {
	often := r.IntN(5) + 1
	return strings.Map(func(right rune) rune {
		if r.IntN(6) < often {
			return right
		}
		return -1
	}, letters)
}

// TestRandomCommandsOfAGuest has somebody do at random what the access control list permits and what it does not, and compares answers and
// mailboxes with what RFC 4314 section 4 says of each command.
func TestRandomCommandsOfAGuest(t *testing.T) {
	s := harness.Start(t, harness.Options{Args: []string{
		"--directory-argon2-memory", "1MiB", "--directory-argon2-time", "1", "--directory-scram-iterations", "4096",
	}})
	s.CLI(t, "domain", "add", harness.Domain)
	seeds := []uint64{1, 2, uint64(time.Now().UnixNano())}
	if *seedFlag != 0 {
		seeds = []uint64{*seedFlag}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			owner, guest := fmt.Sprint("owner", seed), fmt.Sprint("guest", seed)
			g := &sharing{grantee: harness.Address(guest)}
			for name, a := range map[string]**actor{owner: &g.owner, guest: &g.guest} {
				s.AddAccount(t, name)
				var err error
				*a, err = newActor(s.IMAPS[0], s.TLS(t), name, harness.Address(name), actorKind{guest: name == guest}, newWitness())
				require.NoError(t, err)
			}
			for _, name := range []string{"A", "A/B"} {
				_, err := g.owner.must("CREATE " + name)
				require.NoError(t, err)
				g.boxes = append(g.boxes, &sharedBox{own: name, name: "Other Users/" + harness.Address(owner) + "/" + name, next: 1, flags: map[uint32]flagSet{}})
			}
			g.boxes = append(g.boxes, &sharedBox{own: inbox, name: inbox, mine: letters, next: 1, flags: map[uint32]flagSet{}})
			r := rand.New(rand.NewPCG(seed, 2))
			for range *stepsFlag / 4 {
				err := g.step(r)
				if err == nil {
					err = g.compare()
				}
				if err != nil {
					t.Fatalf("-seed %d: %v\n%s", seed, err, strings.Join(slices.Concat(g.owner.lines, []string{"-- the guest"}, g.guest.lines), "\n"))
				}
			}
		})
	}
}

// step has the owner change rights or add a message, or the guest do something.
func (g *sharing) step(r *rand.Rand) error {
	b, to := g.boxes[r.IntN(len(g.boxes))], g.boxes[r.IntN(len(g.boxes))]
	switch r.IntN(14) {
	case 0, 1, 2:
		return g.grants(r, g.boxes[r.IntN(2)])
	case 3:
		return g.appends(r, g.owner, g.boxes[r.IntN(2)])
	case 4, 5:
		return g.appends(r, g.guest, b)
	case 6:
		return g.looks(b)
	}
	if err := g.answered(g.guest, "SELECT "+quoted(b.name), b.name, b.has("r"), b.refusal("NONEXISTENT")); err != nil || !b.has("r") {
		return err
	}
	err := g.does(r, b, to)
	if err == nil {
		_, err = g.guest.must("UNSELECT")
	}
	return err
}

// answered runs a command that is permitted, or else is refused with one of the codes.
func (g *sharing) answered(a *actor, text, mailbox string, permitted bool, codes ...string) error {
	if mailbox != "" {
		a.asked, a.list, a.validity = mailbox, nil, 0
	}
	reply, err := a.do(text)
	if err != nil {
		return err
	}
	word, _, _ := strings.Cut(reply.code, " ")
	if permitted != (reply.status == "OK") || !permitted && (reply.status != "NO" || !slices.Contains(codes, word)) {
		return fmt.Errorf("%.100q was answered by %s [%s], permitted: %v, else %q", text, reply.status, reply.code, permitted, codes)
	}
	return nil
}

func (g *sharing) grants(r *rand.Rand, b *sharedBox) error {
	rights := randomRights(r)
	who, to := g.grantee, &b.mine
	if r.IntN(3) == 0 {
		who, to = "anyone", &b.anyone
		rights = strings.Map(func(right rune) rune {
			if r.IntN(2) == 0 {
				return right
			}
			return -1
		}, rights)
	}
	*to = rights
	_, err := g.owner.must("SETACL " + b.own + " " + who + " " + quoted(rights))
	return err
}

var sharedFlags = []string{`\Seen`, `\Deleted`, `\Flagged`, "Work"}

func someFlags(r *rand.Rand) []string {
	return slices.DeleteFunc(slices.Clone(sharedFlags), func(string) bool { return r.IntN(2) == 0 })
}

func (g *sharing) appends(r *rand.Rand, a *actor, b *sharedBox) error {
	names := someFlags(r)
	name, flags, permitted := b.own, flagsOf(slices.Clone(names)...), true
	if a == g.guest {
		name, flags, permitted = b.name, b.permitted(flags), b.has("i")
	}
	if permitted {
		b.add(flags)
	}
	return g.answered(a, fmt.Sprintf("APPEND %s (%s) {14+}\r\nSubject: a\r\n\r\n", quoted(name), strings.Join(names, " ")), "", permitted, b.refusal("TRYCREATE"))
}

// looks asks what needs no selected mailbox.
func (g *sharing) looks(b *sharedBox) error {
	for _, err := range []error{
		g.answered(g.guest, "STATUS "+quoted(b.name)+" (MESSAGES UNSEEN)", "", b.has("r"), b.refusal("NONEXISTENT")),
		g.answered(g.guest, "GETACL "+quoted(b.name), "", b.has("a"), b.refusal("NONEXISTENT")),
		g.answered(g.guest, "LISTRIGHTS "+quoted(b.name)+" "+quoted(g.grantee), "", b.has("a"), b.refusal("NONEXISTENT")),
		g.answered(g.guest, "MYRIGHTS "+quoted(b.name), "", b.visible(), "NONEXISTENT"),
	} {
		if err != nil {
			return err
		}
	}
	listed, err := g.guest.must(`LIST "" ` + quoted(strings.TrimSuffix(g.boxes[0].name, "A")+"*")) // another game's owner may share with all, too
	if err != nil {
		return err
	}
	got, want := map[string]bool{}, map[string]bool{} // true: it can be selected
	for _, line := range listed.untagged {
		if line.name == "LIST" {
			flags := line.values[0].texts()
			got[line.values[2].text] = !slices.Contains(flags, `\NonExistent`) && !slices.Contains(flags, `\Noselect`)
		}
	}
	for _, of := range g.boxes[:2] {
		if of.has("l") {
			want[of.name] = of.has("r")
		}
	}
	if above := g.boxes[0]; g.boxes[1].has("l") && !above.has("l") { // a level of the other's name
		want[above.name] = false
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("LIST told %v, not %v", got, want)
	}
	if !b.visible() {
		return nil
	}
	rights, err := g.guest.must("MYRIGHTS " + quoted(b.name))
	if err != nil {
		return err
	}
	for _, right := range letters {
		if told := strings.ContainsRune(rights.untagged[0].values[1].text, right); told != b.has(string(right)) {
			return fmt.Errorf("MYRIGHTS told %c: %v", right, told)
		}
	}
	return nil
}

// does is a command on messages of the selected mailbox.
func (g *sharing) does(r *rand.Rand, b, to *sharedBox) error {
	uids := slices.Sorted(maps.Keys(b.flags))
	if len(uids) == 0 {
		return nil
	}
	some := uids[r.IntN(len(uids)):]
	some = some[:1+r.IntN(len(some))]
	codes := []string{b.refusal("NONEXISTENT")}
	if !b.writable() {
		codes = append(codes, "CANNOT")
	}
	switch r.IntN(5) {
	case 0:
		return g.stores(r, b, some, codes)
	case 1:
		if b.has("s") {
			for _, uid := range some {
				b.flags[uid] = b.flags[uid].with(`\seen`)
			}
		}
		return g.answered(g.guest, "UID FETCH "+setOf(some)+" (BODY[TEXT])", "", true)
	case 2:
		if b.has("e") {
			maps.DeleteFunc(b.flags, func(_ uint32, flags flagSet) bool { return flags.has(`\Deleted`) })
		}
		return g.answered(g.guest, "EXPUNGE", "", b.has("e"), codes...)
	case 3:
		if to.has("i") {
			for _, uid := range some {
				to.add(to.permitted(b.flags[uid]))
			}
		}
		return g.answered(g.guest, "UID COPY "+setOf(some)+" "+quoted(to.name), "", to.has("i"), to.refusal("TRYCREATE"))
	}
	permitted := b.has("te") && to.has("i")
	if permitted {
		for _, uid := range some {
			to.add(to.permitted(b.flags[uid]))
			delete(b.flags, uid)
		}
	}
	return g.answered(g.guest, "UID MOVE "+setOf(some)+" "+quoted(to.name), "", permitted, append(codes, b.refusal("TRYCREATE"), to.refusal("TRYCREATE"))...)
}

func (g *sharing) stores(r *rand.Rand, b *sharedBox, uids []uint32, codes []string) error {
	op, names := []string{"+", "-", ""}[r.IntN(3)], someFlags(r)
	asked := flagsOf(slices.Clone(names)...)
	mine, all := b.permitted(asked), b.permitted(flagsOf(sharedFlags...))
	permitted := asked == "" || mine != ""
	if op == "" {
		permitted = all != ""
	}
	for _, uid := range uids {
		old := b.flags[uid]
		switch {
		case !permitted:
		case op == "":
			b.flags[uid] = old.without(all).with(mine)
		default:
			b.flags[uid] = old.apply(op, mine)
		}
	}
	return g.answered(g.guest, fmt.Sprintf("UID STORE %s %sFLAGS (%s)", setOf(uids), op, strings.Join(names, " ")), "", permitted, codes...)
}

// compare looks at all mailboxes as their owners.
func (g *sharing) compare() error {
	for _, b := range g.boxes {
		a := g.owner
		if b.own == inbox {
			a = g.guest
		}
		if _, err := a.choose("EXAMINE "+quoted(b.own), b.own); err != nil {
			return err
		}
		if _, err := a.must("UID FETCH 1:* (FLAGS)"); err != nil {
			return err
		}
		got := map[uint32]flagSet{}
		for _, s := range a.list {
			got[s.uid] = s.flags
		}
		if _, err := a.must("UNSELECT"); err != nil {
			return err
		}
		if !maps.Equal(got, b.flags) {
			return fmt.Errorf("%s has %v, not %v", b.own, got, b.flags)
		}
	}
	return nil
}
