package imapmodel

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// believe takes in an untagged response, and finds out where it contradicts itself, the rules or the model.
func (c *client) believe(r *response) error {
	switch r.name {
	case "BYE":
		return errBye
	case "OK":
		if code(r.status) == "CLOSED" {
			c.deselect()
		}
		c.says(code(r.status))
	case "STATUS":
		return c.notified(r)
	case "EXISTS":
		return c.exists(int(r.number))
	case "EXPUNGE":
		if c.qresync || c.uidOnly {
			return errors.New("EXPUNGE where VANISHED is due")
		}
		if r.number == 0 || int(r.number) > len(c.list) {
			return fmt.Errorf("there are %d messages", len(c.list))
		}
		return c.expunged(int(r.number) - 1)
	case "VANISHED":
		return c.vanished(r)
	case "FETCH":
		if c.uidOnly {
			return errors.New("a sequence number after ENABLE UIDONLY")
		}
		if r.number == 0 || int(r.number) > len(c.list) {
			return fmt.Errorf("there are %d messages", len(c.list))
		}
		return c.fetched(c.list[r.number-1], r.values[0].list)
	case "UIDFETCH":
		e, err := c.byUID(r.number)
		if err != nil {
			return err
		}
		return c.fetched(e, r.values[0].list)
	}
	return nil
}

// says takes in a response code that tells from where to go on.
func (c *client) says(code string) {
	if number, ok := strings.CutPrefix(code, "HIGHESTMODSEQ "); ok {
		c.said, _ = strconv.ParseUint(number, 10, 64)
	}
}

// resumable checks that a client that went on from what it knows after a tagged response would hear of all that is gone (RFC 7162 section 6).
func (c *client) resumable() error {
	c.resume = max(c.resume, c.seen)
	if c.said > 0 {
		c.resume = c.said
	}
	c.said, c.seen = 0, 0
	for _, e := range c.list {
		if c.modseqs && e.msg != nil && e.msg.gone > 0 && e.msg.gone <= c.resume {
			return fmt.Errorf("UID %d is gone since %d, and the client goes on from %d", e.msg.uid, e.msg.gone, c.resume)
		}
	}
	return nil
}

// exists never takes messages away.
func (c *client) exists(n int) error {
	if c.box == nil {
		return errors.New("nothing is selected")
	}
	if n < len(c.list) {
		return fmt.Errorf("there were %d messages", len(c.list))
	}
	last, unknown := uint32(0), n-len(c.list)
	for _, e := range c.list {
		if e.msg == nil {
			unknown++
		} else {
			last, unknown = max(last, e.msg.uid), n-len(c.list)
		}
	}
	for len(c.list) < n {
		c.list = append(c.list, &entry{})
	}
	more := 0
	for _, m := range c.box.all {
		if m.uid > last {
			more++
		}
	}
	if unknown > more && !c.uidOnly {
		return fmt.Errorf("%d messages are new, there have been %d behind UID %d", unknown, more, last)
	}
	return nil
}

// expunged takes a message out of the list.
func (c *client) expunged(i int) error {
	for _, f := range c.flying {
		if f.numbered && !f.finished {
			return fmt.Errorf("no message may go while %s is in progress", f.tag)
		}
	}
	if len(c.flying) == 0 {
		return errors.New("no message may go while no command is in progress")
	}
	e := c.list[i]
	if e.msg != nil && e.msg.gone == 0 {
		return fmt.Errorf("UID %d is there", e.msg.uid)
	}
	c.list = slices.Delete(c.list, i, i+1)
	c.saved = slices.DeleteFunc(c.saved, func(m *message) bool { return m == e.msg })
	return nil
}

func (c *client) vanished(r *response) error {
	if !c.qresync && !c.uidOnly {
		return errors.New("VANISHED was not enabled")
	}
	if len(r.values) == 2 {
		if !slices.ContainsFunc(c.flying, func(f *flight) bool { return f.earlier && !f.finished }) {
			return errors.New("nobody asked for what vanished earlier")
		}
		return nil
	}
	uids, err := expand(r.values[0].text)
	if err != nil {
		return err
	}
	for _, uid := range uids {
		known := slices.ContainsFunc(c.list, func(e *entry) bool { return e.msg != nil && e.msg.uid == uid })
		e, err := c.byUID(uid)
		if err != nil {
			return err
		}
		for _, o := range c.list {
			if !known && o.msg == nil {
				o.told = false // it may have been the one that is gone
			}
		}
		if err := c.expunged(slices.Index(c.list, e)); err != nil {
			return err
		}
	}
	return nil
}

// byUID finds a message in the list; of one whose UID was not told yet, its place.
func (c *client) byUID(uid uint32) (*entry, error) {
	for i, e := range c.list {
		switch {
		case e.msg != nil && e.msg.uid == uid:
			return e, nil
		case !c.uidOnly && e.msg != nil && e.msg.uid > uid:
			return nil, fmt.Errorf("UID %d was not told of", uid)
		case e.msg == nil && c.uidOnly && !slices.ContainsFunc(c.list, func(o *entry) bool { return o.msg != nil && o.msg.uid == uid }):
			return e, c.bind(e, uid)
		case c.uidOnly:
		case e.msg == nil && !slices.ContainsFunc(c.list[i:], func(o *entry) bool { return o.msg != nil && o.msg.uid <= uid }):
			return e, c.bind(e, uid)
		}
	}
	return nil, fmt.Errorf("UID %d was not told of", uid)
}

// bind notes the UID of a message that was told by number only.
func (c *client) bind(e *entry, uid uint32) error {
	m := c.box.find(uid)
	if m == nil {
		return fmt.Errorf("there never was a UID %d", uid)
	}
	at := slices.Index(c.list, e)
	for i, o := range c.list {
		if !c.uidOnly && o.msg != nil && (i < at && o.msg.uid >= uid || i > at && o.msg.uid <= uid) {
			return fmt.Errorf("message %d has UID %d", i+1, o.msg.uid)
		}
	}
	e.msg = m
	if e.told {
		return e.learn(e.flags, 0)
	}
	return nil
}

// learn finds the version of which a client was told: none before the one of which it was told last.
func (e *entry) learn(flags flagSet, modseq uint64) error {
	for i := e.from; i < len(e.msg.versions); i++ {
		if v := e.msg.versions[i]; v.flags == flags && (modseq == 0 || v.modseq == modseq) {
			e.from = i
			return nil
		}
	}
	return fmt.Errorf("UID %d was (%s) at %d, never since version %d of %v", e.msg.uid, flags, modseq, e.from, e.msg.versions)
}

// fetched takes in the items of a FETCH response.
func (c *client) fetched(e *entry, items []value) error {
	if len(items)%2 != 0 {
		return errors.New("an item without a value")
	}
	all := map[string]value{}
	for i := 0; i < len(items); i += 2 {
		all[strings.ToUpper(items[i].text)] = items[i+1]
	}
	if v, ok := all["UID"]; ok {
		uid, err := v.number()
		if err != nil {
			return err
		}
		if e.msg == nil {
			err = c.bind(e, uint32(uid))
		} else if e.msg.uid != uint32(uid) {
			err = fmt.Errorf("its UID was %d", e.msg.uid)
		}
		if err != nil {
			return err
		}
	}
	modseq := uint64(0)
	if v, ok := all["MODSEQ"]; ok {
		if len(v.list) != 1 {
			return errors.New("MODSEQ is no list")
		}
		var err error
		if modseq, err = v.list[0].number(); err != nil {
			return err
		}
	}
	c.seen = max(c.seen, modseq)
	if err := c.changed(e, all, modseq); err != nil {
		return err
	}
	if e.msg == nil {
		return nil
	}
	if err := constant(e.msg, all); err != nil {
		return err
	}
	_, flags := all["FLAGS"]
	for _, f := range c.flying {
		if f.finished {
			continue
		}
		h := f.heard[e.msg]
		if h == nil {
			h = &heard{items: map[string]value{}}
			f.heard[e.msg] = h
		}
		h.flags, h.at, h.modseq = h.flags || flags, e.from, max(h.modseq, modseq)
		for name, v := range all {
			h.items[name] = v
		}
	}
	return nil
}

// changed takes in flags and the modification sequence.
func (c *client) changed(e *entry, all map[string]value, modseq uint64) error {
	v, ok := all["FLAGS"]
	asked := slices.ContainsFunc(c.flying, func(f *flight) bool { return f.fetches && !f.finished })
	if ok && !asked && c.modseqs && modseq == 0 {
		return errors.New("a change without MODSEQ") // RFC 7162 section 3.2
	}
	if _, uid := all["UID"]; !asked && c.modseqs && !c.uidOnly && !uid {
		return errors.New("a change without UID") // RFC 7162 section 3.2.4
	}
	switch {
	case ok:
		e.told, e.flags = true, flagsOf(v.texts()...)
		if e.msg != nil {
			return e.learn(e.flags, modseq)
		}
	case modseq > 0 && e.msg != nil:
		for i := e.from; i < len(e.msg.versions); i++ {
			if e.msg.versions[i].modseq == modseq {
				e.from = i
				return nil
			}
		}
		return fmt.Errorf("UID %d has no MODSEQ %d since version %d: %v", e.msg.uid, modseq, e.from, e.msg.versions)
	}
	return nil
}

// constant checks what never changes of a message.
func constant(m *message, all map[string]value) error {
	if v, ok := all["RFC822.SIZE"]; ok && v.text != fmt.Sprint(m.size) {
		return fmt.Errorf("UID %d has %d octets", m.uid, m.size)
	}
	if v, ok := all["INTERNALDATE"]; ok {
		if at, err := time.Parse("_2-Jan-2006 15:04:05 -0700", v.text); err != nil || !at.Equal(m.date) {
			return errors.Join(err, fmt.Errorf("UID %d is of %v", m.uid, m.date))
		}
	}
	if v, ok := all["BODY[HEADER.FIELDS (SUBJECT)]"]; ok && v.text != "Subject: "+m.subject.written+"\r\n\r\n" {
		return fmt.Errorf("UID %d has the subject %q", m.uid, m.subject.written)
	}
	return nil
}
