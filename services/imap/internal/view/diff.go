package view

import "slices"

// Change is a message whose flags differ from what the client knows.
type Change struct {
	// Seq is its sequence number after the expunges of the same Update.
	Seq     uint32
	Message Message
}

// Update is what a client must be told, in this order.
type Update struct {
	// Expunged are sequence numbers in descending order, so that none shifts another.
	Expunged []uint32
	// ExpungedUIDs are the UIDs of the same messages.
	ExpungedUIDs []uint32
	// Exists is the new number of messages if some were added, else 0.
	Exists uint32
	// Changed are messages that the client knew with other flags.
	Changed []Change
	// Told is what the client knows after that.
	Told *Snapshot
}

// Empty tells whether there is nothing to tell.
func (u *Update) Empty() bool {
	return len(u.Expunged) == 0 && u.Exists == 0 && len(u.Changed) == 0
}

// Diff says how to bring a client from told to current. Without expunge, messages that are gone keep their
// place (RFC 9051 section 7.5.1: no EXPUNGE while no command is in progress, nor during FETCH, STORE or SEARCH).
// Chunks that both share are not looked at.
func Diff(told, current *Snapshot, expunge bool) Update {
	if told == current {
		return Update{Told: told}
	}
	d := differ{a: cursor{s: told}, b: cursor{s: current}}
	d.run()
	if !expunge && len(d.update.Expunged) > 0 {
		d = differ{a: cursor{s: told}, b: cursor{s: current}, next: newBuilder(told)}
		d.run()
	}
	update := d.update
	if d.next == nil {
		update.Told = current
	} else {
		update.Told = d.next.snapshot()
		update.Told.as(current, current.ModSeq)
	}
	if d.added {
		update.Exists = uint32(update.Told.Len())
	}
	// They were found in ascending order; each lower one that goes first would shift the later ones.
	slices.Reverse(update.Expunged)
	slices.Reverse(update.ExpungedUIDs)
	return update
}

type differ struct {
	a, b   cursor
	next   *builder // of Told, when messages that are gone stay in it; nil: they are expunged
	seq    uint32   // of a's message in Told
	added  bool
	update Update
}

func (d *differ) run() {
	for !d.a.done() || !d.b.done() {
		if n := d.a.skipShared(&d.b); n > 0 {
			d.seq += uint32(n)
			continue
		}
		switch {
		case d.b.done() || !d.a.done() && d.a.at().UID < d.b.at().UID:
			d.gone(d.a.at())
			d.a.advance()
		case d.a.done() || d.b.at().UID < d.a.at().UID:
			d.added = true
			if d.next != nil {
				d.next.put(d.b.at())
			}
			d.b.advance()
		default:
			d.seq++
			if old, now := d.a.at(), d.b.at(); old != now {
				d.changed(old, now)
			}
			d.a.advance()
			d.b.advance()
		}
	}
}

func (d *differ) gone(m Message) {
	if d.next != nil {
		d.seq++
		return
	}
	// Its sequence number before this update: those before it that stay, and those that went.
	d.update.Expunged = append(d.update.Expunged, d.seq+uint32(len(d.update.Expunged))+1)
	d.update.ExpungedUIDs = append(d.update.ExpungedUIDs, m.UID)
}

func (d *differ) changed(old, now Message) {
	if now.ModSeq < old.ModSeq {
		return // the client knows what current does not have yet: its own change
	}
	if d.next != nil {
		d.next.put(now)
	}
	if !old.sameFlags(now) {
		d.update.Changed = append(d.update.Changed, Change{Seq: d.seq, Message: now})
	}
}

// cursor walks a snapshot.
type cursor struct {
	s     *Snapshot
	c, in int
}

func (c *cursor) done() bool  { return c.c == len(c.s.chunks) }
func (c *cursor) at() Message { return (*c.s.chunks[c.c])[c.in] }

func (c *cursor) advance() {
	if c.in++; c.in == len(*c.s.chunks[c.c]) {
		c.c, c.in = c.c+1, 0
	}
}

// skipShared passes the chunk at which both cursors stand, if it is the same, and gives its length.
func (c *cursor) skipShared(o *cursor) int {
	if c.done() || o.done() || c.in != 0 || o.in != 0 || c.s.chunks[c.c] != o.s.chunks[o.c] {
		return 0
	}
	n := len(*c.s.chunks[c.c])
	c.c++
	o.c++
	return n
}
