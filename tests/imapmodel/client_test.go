package imapmodel

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// patience is longer than any answer of a healthy server takes, however busy the machine is.
const patience = time.Minute

// kind is what a session has enabled.
type kind struct{ rev2, condstore, qresync, uidOnly, compress, notify bool }

// client is a session with what it was told.
type client struct {
	kind
	name    string
	conn    net.Conn
	r       *bufio.Reader
	w       io.Writer
	raw     *bufio.Reader // what r uncompresses
	tags    int
	account *account
	address string
	log     func(format string, args ...any)

	box      *mailbox // the selected one
	readOnly bool
	list     []*entry   // by sequence number
	saved    []*message // the search result variable
	flying   []*flight
	idling   bool // the flight is an IDLE
	modseqs  bool // CONDSTORE was on before the commands in progress
	by       by   // how the next commands name messages
	// resume is the modification sequence from which the client would go on, had it to come back: said is what it was told of that since the last tagged
	// response, seen the highest that it saw.
	resume, said, seen uint64
	watch              watch // of NOTIFY; nil: it was not asked for
}

// by is how commands name messages.
type by int

const (
	byEither by = iota
	bySequence
	byUID
)

// entry is what a client knows of the message with a sequence number.
type entry struct {
	msg *message // nil: only that it is there
	// from is the first version that it can have been told last.
	from int
	// told: its flags are known, as flags.
	told  bool
	flags flagSet
}

// command is one that is sent, and what is to be answered.
type command struct {
	text string
	// numbered: no EXPUNGE may come meanwhile (RFC 9051 section 7.5.1).
	numbered bool
	// fetches: FETCH responses need not be of changes.
	fetches bool
	// earlier: VANISHED (EARLIER) may come.
	earlier bool
	// hear is called for each untagged response, when the client has believed it; nil: nothing is expected.
	hear func(r *response) error
	// done checks the answer; nil: OK.
	done func(a *flight) error
}

// flight is a command in progress, and what came of it.
type flight struct {
	*command
	tag          string
	status, code string
	heard        map[*message]*heard
	order        []string // names of the responses, as they came
	finished     bool
}

// heard is what FETCH responses have told of a message.
type heard struct {
	flags  bool
	at     int // the version
	modseq uint64
	items  map[string]value
}

// response is an untagged one.
type response struct {
	name   string // in upper case
	number uint32
	values []value
	status string // the text of OK, NO, BAD, BYE
}

// errBye: the server has said goodbye.
var errBye = errors.New("the server said BYE")

// dial connects and logs in.
func dial(addr string, config *tls.Config, name, address string, k kind, a *account, log func(string, ...any)) (*client, error) {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return nil, err
	}
	c := &client{name: name, conn: conn, r: bufio.NewReader(conn), w: conn, account: a, address: address, log: log}
	if _, err := c.receive(); err != nil {
		return nil, err
	}
	if err := c.login(k); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *client) receive() (string, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	line, err := readResponse(c.r)
	c.log("%s S: %s", c.name, line)
	return line, err
}

func (c *client) send(text string) error {
	c.log("%s C: %s", c.name, strings.TrimSuffix(text, "\r\n"))
	if err := c.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.WriteString(c.w, text)
	return err
}

// run sends commands at once, in this order, and checks their answers.
func (c *client) run(commands ...*command) error {
	var text strings.Builder
	for _, cmd := range commands {
		c.tags++
		f := &flight{command: cmd, tag: fmt.Sprintf("%s%d", c.name, c.tags), heard: map[*message]*heard{}}
		c.flying = append(c.flying, f)
		text.WriteString(f.tag + " " + cmd.text + "\r\n")
	}
	if err := c.send(text.String()); err != nil {
		return err
	}
	for slices.ContainsFunc(c.flying, func(f *flight) bool { return !f.finished }) {
		if err := c.listen(); err != nil {
			return err
		}
	}
	c.flying, c.modseqs = nil, c.condstore
	return nil
}

// listen takes in one response.
func (c *client) listen() error {
	line, err := c.receive()
	if err != nil {
		return err
	}
	for _, f := range c.flying {
		if rest, ok := strings.CutPrefix(line, f.tag+" "); ok {
			return c.finish(f, rest)
		}
	}
	if c.idling && strings.HasPrefix(line, "+ ") {
		return nil
	}
	rest, ok := strings.CutPrefix(line, "* ")
	if !ok {
		return fmt.Errorf("nothing asked for %q", line)
	}
	r, err := parseResponse(rest)
	if err == nil {
		err = c.believe(r)
	}
	for _, f := range c.flying {
		if err == nil && !f.finished {
			f.order = append(f.order, r.name+" "+code(r.status))
			if f.hear != nil {
				err = f.hear(r)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	return nil
}

func (c *client) finish(f *flight, text string) error {
	f.finished = true
	f.status, text, _ = strings.Cut(text, " ")
	f.code = code(text)
	c.says(f.code)
	if err := c.resumable(); err != nil {
		return fmt.Errorf("%.300s: %w", f.text, err)
	}
	check := f.done
	if check == nil {
		check = func(f *flight) error { return f.want("OK", "") }
	}
	if err := check(f); err != nil {
		return fmt.Errorf("%.300s: answered %s %s: %w", f.text, f.status, text, err)
	}
	return nil
}

// want checks the status and the response code.
func (f *flight) want(status, code string) error {
	if got, _, _ := strings.Cut(f.code, " "); f.status != status || code != "*" && got != code {
		return fmt.Errorf("want %s [%s]", status, code)
	}
	return nil
}

func parseResponse(text string) (*response, error) {
	r := &response{}
	first, rest, _ := strings.Cut(text, " ")
	if n, err := (value{text: first}).number(); err == nil {
		r.number = uint32(n)
		first, rest, _ = strings.Cut(rest, " ")
	}
	r.name = strings.ToUpper(first)
	switch r.name {
	case "OK", "NO", "BAD", "BYE":
		r.status = rest
		return r, nil
	}
	var err error
	r.values, err = parse(rest)
	return r, err
}

// sync brings the client to know everything, and compares it with what is.
func (c *client) sync() error {
	if err := c.run(&command{text: "NOOP"}); err != nil {
		return err
	}
	return c.settle()
}

// settle is agrees for a client that was told everything: then it is clear which messages it was told of by their number only.
func (c *client) settle() error {
	if err := c.agrees(); err != nil || c.box == nil {
		return err
	}
	known := map[*message]*entry{}
	for _, e := range c.list {
		known[e.msg] = e
	}
	for i, m := range c.box.now() {
		if e := known[m]; e != nil {
			c.list[i] = e // after ENABLE UIDONLY the order is not told
		} else if c.uidOnly {
			c.list[i] = &entry{}
		}
		c.list[i].msg, c.list[i].from = m, len(m.versions)-1
	}
	return nil
}

// agrees compares what the client was told with what is.
func (c *client) agrees() error {
	if c.box == nil {
		return nil
	}
	now := c.box.now()
	if len(c.list) != len(now) {
		return fmt.Errorf("%s was told of %d messages in %s, there are %d", c.name, len(c.list), c.box.name, len(now))
	}
	for i, e := range c.list {
		m := now[i]
		if c.uidOnly && e.msg != nil {
			m = e.msg
		}
		if m.gone > 0 {
			return fmt.Errorf("%s was not told that UID %d in %s is gone", c.name, m.uid, c.box.name)
		}
		if e.msg != nil && e.msg != m {
			return fmt.Errorf("%s was told that message %d in %s has UID %d, it is %d", c.name, i+1, c.box.name, e.msg.uid, m.uid)
		}
		if e.msg != nil && e.told && e.flags != m.flags() || e.told && !c.uidOnly && e.flags != m.flags() {
			return fmt.Errorf("%s was told that UID %d in %s has (%s), it has (%s)", c.name, m.uid, c.box.name, e.flags, m.flags())
		}
	}
	return nil
}

// current tells whether the client knows everything without asking.
func (c *client) current() bool {
	if c.box == nil || len(c.list) != len(c.box.now()) {
		return false
	}
	for _, e := range c.list {
		if e.msg == nil || e.msg.gone > 0 || e.from < len(e.msg.versions)-1 {
			return false
		}
	}
	return true
}

// known tells whether the client knows every UID.
func (c *client) known() bool {
	return !slices.ContainsFunc(c.list, func(e *entry) bool { return e.msg == nil })
}

func (c *client) deselect() {
	if c.watch != nil && c.box != nil {
		c.watch[c.box] = len(c.box.history) - 1
	}
	c.box, c.list, c.saved, c.readOnly = nil, nil, nil, false
	c.resume, c.said, c.seen = 0, 0, 0
}

// idle begins IDLE.
func (c *client) idle() error {
	c.tags++
	f := &flight{command: &command{text: "IDLE"}, tag: fmt.Sprintf("%s%d", c.name, c.tags), heard: map[*message]*heard{}}
	c.flying, c.idling = []*flight{f}, true
	return c.send(f.tag + " IDLE\r\n")
}

// wake listens until the idling client knows everything, and ends IDLE.
func (c *client) wake() error {
	for {
		err := c.agrees()
		if err == nil && (c.box == nil || !c.box.deleted) {
			break
		}
		if heard := c.listen(); heard != nil {
			return errors.Join(heard, err)
		}
	}
	if err := c.send("DONE\r\n"); err != nil {
		return err
	}
	for !c.flying[0].finished {
		if err := c.listen(); err != nil {
			return err
		}
	}
	c.flying, c.idling = nil, false
	return nil
}
