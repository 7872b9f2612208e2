package imapmodel

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// step is one move of a game: who does something, and the seed of what it is.
type step struct {
	client int
	seed   uint64
}

// kinds are those of the sessions of a game.
var kinds = []kind{{}, {rev2: true, condstore: true}, {rev2: true, qresync: true}, {qresync: true, uidOnly: true}, {condstore: true}, {rev2: true}, {notify: true}, {rev2: true, qresync: true, notify: true, compress: true}}

// game is a run of a sequence with an account of its own.
type game struct {
	addr    string
	config  *tls.Config
	address string
	account *account
	clients []*client
	// control learns what the server chooses, and compares everything in the end.
	control *client
	log     []string
}

// names of mailboxes that the sessions use.
var names = []string{inbox, inbox, "inbox", "A", "A", "A/B", "A/B/C", "B/C", "D", "INBOX/E", "Inbox/E", "Trash", "Archive"}

func (g *game) someName(r *rand.Rand) string { return names[r.IntN(len(names))] }

func (g *game) logf(format string, args ...any) { g.log = append(g.log, fmt.Sprintf(format, args...)) }

func (g *game) dial(name string, k kind) (*client, error) {
	return dial(g.addr, g.config, name, g.address, k, g.account, g.logf)
}

// play plays a sequence, and gives the first thing that is wrong.
func (g *game) play(sessions []kind, steps []step) (err error) {
	defer func() {
		for _, c := range append(g.clients, g.control) {
			if c != nil {
				_ = c.conn.Close()
			}
		}
	}()
	g.account = newAccount()
	if g.control, err = g.dial("control", kind{rev2: true}); err != nil {
		return err
	}
	if err := g.begin(); err != nil {
		return err
	}
	for i, k := range sessions {
		c, err := g.dial(string(rune('a'+i)), k)
		if err != nil {
			return err
		}
		g.clients = append(g.clients, c)
	}
	for _, s := range steps {
		g.logf("-- step %d:%d", s.client, s.seed)
		if err := g.step(s); err != nil {
			return fmt.Errorf("step %d:%d: %w", s.client, s.seed, err)
		}
	}
	return g.end()
}

// begin learns what a new account has.
func (g *game) begin() error {
	return g.control.run(&command{
		text: `LIST "" * RETURN (SUBSCRIBED STATUS (UIDVALIDITY UIDNEXT HIGHESTMODSEQ))`,
		hear: func(r *response) error {
			switch r.name {
			case "LIST":
				g.account.make(r.values[2].text)
				if slices.Contains(r.values[0].texts(), `\Subscribed`) {
					g.account.subscribed[r.values[2].text] = true
				}
			case "STATUS":
				b := g.account.boxes[r.values[0].text]
				items := r.values[1].list
				validity, err := items[1].number()
				next, err2 := items[3].number()
				modseq, err3 := items[5].number()
				b.next, b.modseq = uint32(next), modseq
				return errors.Join(err, err2, err3, g.account.learnValidity(b, uint32(validity)))
			}
			return nil
		},
	})
}

// learn asks for the UIDVALIDITY of new mailboxes.
func (g *game) learn() error {
	for _, b := range g.account.boxes {
		if b.validity > 0 {
			continue
		}
		err := g.control.run(&command{text: "STATUS " + quoted(b.name) + " (UIDVALIDITY)", hear: func(r *response) error {
			if r.name != "STATUS" {
				return nil
			}
			validity, err := r.values[1].list[1].number()
			return errors.Join(err, g.account.learnValidity(b, uint32(validity)))
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *game) step(s step) error {
	c, r := g.clients[s.client], rand.New(rand.NewPCG(s.seed, 0))
	bereft := c.box != nil && c.box.deleted
	switch {
	case c.idling:
		err := c.wake()
		if bereft {
			return g.again(s.client, err)
		}
		if err != nil {
			return err
		}
	case bereft && c.watch != nil: // it is told at once
		err := c.listen()
		for err == nil {
			err = c.listen()
		}
		return g.again(s.client, err)
	case bereft && r.IntN(2) == 0:
		return g.again(s.client, c.run(&command{text: "NOOP"}))
	case bereft:
		return c.run(c.selects(r, g))
	}
	if c.watch != nil && r.IntN(30) == 0 {
		if err := c.hears(); err != nil {
			return err
		}
	}
	if c.box != nil && (!c.known() || r.IntN(2) == 0) || c.watch != nil { // what is told meanwhile comes at any time
		if err := c.sync(); err != nil {
			return err
		}
	}
	if err := g.act(c, r); err != nil {
		return err
	}
	return g.learn()
}

// again connects anew a session that was thrown out of a mailbox that is gone.
func (g *game) again(i int, err error) error {
	c := g.clients[i]
	if !errors.Is(err, errBye) {
		return fmt.Errorf("the mailbox is gone, and BYE was not said: %w", err)
	}
	_ = c.conn.Close()
	g.clients[i], err = g.dial(c.name, c.kind)
	return err
}

// act does something.
func (g *game) act(c *client, r *rand.Rand) error {
	n := r.IntN(100)
	switch {
	case n < 5:
		return c.run(c.append(r, g))
	case n < 7:
		return c.run(c.catenate(r, g))
	case n < 14:
		return c.run(c.manage(r, g))
	case n < 16:
		return c.run(c.lists(r))
	case n < 17:
		return c.run(c.annotates(r, g))
	case n < 21:
		return c.run(c.status(r, g))
	case n < 23 && (c.box == nil || c.current()):
		return c.run(c.multiSearch(r, g))
	case n < 27 || c.box == nil:
		return c.run(c.selects(r, g))
	case n < 29:
		return c.run(c.leave(r))
	case n < 33:
		return c.idle()
	case n < 43:
		return c.run(g.group(c, r)...)
	case n < 44:
		return c.again(kinds[r.IntN(len(kinds))])
	case n < 45 && c.uidOnly:
		return c.run(&command{text: "FETCH 1 FLAGS", done: func(f *flight) error { return f.want("BAD", "UIDREQUIRED") }})
	}
	return c.run(g.selected(c, r, n))
}

// selected makes a command for the selected mailbox.
func (g *game) selected(c *client, r *rand.Rand, n int) *command {
	switch {
	case n < 56:
		return c.fetch(r)
	case n < 70:
		return c.store(r)
	case n < 77:
		return c.expunge(r)
	case n < 85:
		return c.copyOrMove(r, g)
	case n < 89:
		return c.replace(r, g)
	case n < 96 || n < 98 && !c.current():
		return c.search(r)
	case n < 98:
		return c.threads(r)
	}
	return &command{text: "NOOP"}
}

// group makes commands that are sent at once. Those with sequence numbers come first, as no message may go before them (RFC 9051 section 5.5).
func (g *game) group(c *client, r *rand.Rand) []*command {
	defer func() { c.by = byEither }()
	var out []*command
	searched, asked := false, false
	add := func(n int) {
		if n >= 89 && searched {
			n = 50
		}
		searched = searched || n >= 89
		out = append(out, g.selected(c, r, n))
	}
	c.by = bySequence
	for range min(r.IntN(3), len(c.list)) {
		add([]int{50, 50, 60, 90}[r.IntN(4)])
	}
	c.by = byUID
	for range 1 + r.IntN(3) {
		switch n := r.IntN(4); {
		case n == 0:
			out = append(out, c.append(r, g))
		case n == 1 && !asked:
			asked = true
			out = append(out, c.status(r, g))
		default:
			add([]int{50, 60, 72, 80, 86, 90, 98}[r.IntN(7)])
		}
	}
	return out
}

// end compares all that the sessions know, and all that there is.
func (g *game) end() error {
	for i, c := range g.clients {
		var err error
		switch {
		case c.idling && c.box != nil && c.box.deleted:
			err = g.again(i, c.wake())
		case c.idling:
			err = c.wake()
		}
		if err == nil && c.watch != nil && (c.box == nil || !c.box.deleted) {
			err = c.hears()
		}
		if err == nil && c.box != nil && !c.box.deleted {
			err = c.sync()
		}
		if err != nil {
			return fmt.Errorf("at the end: %w", err)
		}
	}
	for _, b := range g.account.boxes {
		if err := g.compare(b); err != nil {
			return fmt.Errorf("%s, at the end: %w", b.name, err)
		}
	}
	return nil
}

// compare looks at a mailbox with a session that knows nothing yet.
func (g *game) compare(b *mailbox) error {
	c := g.control
	c.deselect()
	c.box = b
	items := []string{"UID", "FLAGS", "MODSEQ", "INTERNALDATE", "RFC822.SIZE", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]"}
	err := c.run(&command{text: "EXAMINE " + quoted(b.name), hear: func(r *response) error {
		if code(r.status) == "CLOSED" {
			c.box = b
		}
		return nil
	}, done: func(f *flight) error { return f.want("OK", "READ-ONLY") }})
	if err != nil {
		return err
	}
	if err := c.settle(); err != nil {
		return err
	}
	return c.run(&command{text: "UID FETCH 1:* (" + strings.Join(items, " ") + ")", fetches: true, done: func(f *flight) error {
		for _, m := range b.now() {
			if err := f.told(m, items, false); err != nil {
				return err
			}
			if h := f.heard[m]; h.modseq != m.last().modseq {
				return fmt.Errorf("UID %d has MODSEQ %d", m.uid, m.last().modseq)
			}
		}
		return f.want("OK", "")
	}})
}
