package imapmodel

import (
	"errors"
	"fmt"
	"slices"
)

// Sessions that hear of other mailboxes, too (RFC 5465).

// count is what STATUS tells of a mailbox when its messages change.
type count struct{ messages, next, unseen uint32 }

// note writes down how the mailbox has become.
func (b *mailbox) note() {
	c := count{next: b.next}
	for _, m := range b.all {
		if m.gone == 0 {
			c.messages++
			if !m.flags().has(`\Seen`) {
				c.unseen++
			}
		}
	}
	b.history = append(b.history, c)
}

// watch is from where in their histories a session knows the mailboxes: since it has begun to hear of them, or what it was told last.
type watch map[*mailbox]int

// listens begins to hear of everything.
func (c *client) listens() *command {
	const events = "(MessageNew MessageExpunge FlagChange)"
	return &command{text: "NOTIFY SET (selected-delayed " + events + ") (personal " + events + ")", done: func(f *flight) error {
		c.watch = watch{}
		for _, b := range c.account.boxes {
			c.watch[b] = len(b.history) - 1
		}
		return f.want("OK", "")
	}}
}

// notified takes in a STATUS response that nobody has asked for.
func (c *client) notified(r *response) error {
	items := r.values[1].list
	if len(items) > 8 && items[8].text == "DELETED" {
		return nil // that was asked for
	}
	if c.watch == nil {
		return nil
	}
	var numbers [4]uint32
	for i := range numbers {
		n, err := items[2*i+1].number()
		if err != nil {
			return err
		}
		numbers[i] = uint32(n)
	}
	b := c.account.ever[numbers[2]]
	if b == nil { // it is so new that the model has not asked yet
		b = c.account.boxes[canonical(r.values[0].text)]
	}
	if b == nil {
		return errors.New("there never was such a mailbox")
	}
	from := c.watch[b]
	at := slices.Index(b.history[from:], count{numbers[0], numbers[1], numbers[3]})
	if at < 0 {
		return fmt.Errorf("since %d it never was so: %v", from, b.history)
	}
	c.watch[b] = from + at
	return nil
}

// hears listens until the session was told of all that has happened elsewhere.
func (c *client) hears() error {
	for _, b := range c.account.boxes {
		for b != c.box && b.history[c.watch[b]] != b.history[len(b.history)-1] {
			if err := c.listen(); err != nil {
				return fmt.Errorf("waiting to hear of %s: %w", b.name, err)
			}
		}
	}
	return nil
}
