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

	"github.com/yubin-mail/yubin/tests/harness"
)

// actor is a client of the stress: it believes what it is told, and tells the witness.
type actor struct {
	name    string
	qresync bool
	uidOnly bool
	guest   bool // who sees what another account shares, and has an INBOX
	witness *witness
	conn    net.Conn
	r       *bufio.Reader
	tags    int

	mailbox  string // "": none is selected
	asked    string // the one that was selected last, or was to be
	validity uint64
	modseq   uint64 // of the last SELECT
	list     []*sighting
	gone     map[place]bool
	lines    []string // the last ones, to be shown
}

// actorKind says how an actor works.
type actorKind struct{ qresync, uidOnly, guest bool }

// space gives a UIDVALIDITY as the witness has it: two accounts can have the same ones.
func (a *actor) space(mailbox string, validity uint32) uint64 {
	if a.guest && mailbox == inbox {
		return 1<<32 | uint64(validity)
	}
	return uint64(validity)
}

// sighting is what an actor knows of a message: uid is 0 before it was told.
type sighting struct {
	uid   uint32
	known bool // the flags
	state
}

// reply is the answer to a command.
type reply struct {
	status, code string
	untagged     []*response
}

func newActor(addr string, config *tls.Config, name, address string, k actorKind, w *witness) (*actor, error) {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return nil, err
	}
	a := &actor{name: name, qresync: k.qresync, uidOnly: k.uidOnly, guest: k.guest, witness: w, conn: conn, r: bufio.NewReader(conn), gone: map[place]bool{}}
	if _, err := a.receive(); err != nil {
		return nil, err
	}
	enable := "ENABLE " + map[bool]string{true: "QRESYNC", false: "CONDSTORE"}[k.qresync] + map[bool]string{true: " UIDONLY"}[k.uidOnly]
	for _, line := range []string{fmt.Sprintf("LOGIN %s %q", address, harness.Password), enable} {
		if _, err := a.must(line); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// maxLines is how many lines of an actor are shown when something is wrong.
const maxLines = 60

func (a *actor) log(line string) {
	a.lines = append(a.lines, line)
	if len(a.lines) > 2*maxLines {
		a.lines = slices.Delete(a.lines, 0, maxLines)
	}
}

func (a *actor) receive() (string, error) {
	if err := a.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	line, err := readResponse(a.r)
	a.log("S: " + line)
	return line, err
}

// do sends a command and takes in the answer. The error is of the connection, or a contradiction.
func (a *actor) do(text string) (*reply, error) {
	a.tags++
	tag := fmt.Sprintf("%s-%d", a.name, a.tags)
	a.log("C: " + tag + " " + text)
	if err := a.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(a.conn, tag+" "+text+"\r\n"); err != nil {
		return nil, err
	}
	verb, _, _ := strings.Cut(text, " ")
	numbered := slices.Contains([]string{"FETCH", "STORE", "SEARCH", "SORT"}, verb)
	out := &reply{}
	for {
		line, err := a.receive()
		if err != nil {
			return nil, err
		}
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			out.status, rest, _ = strings.Cut(rest, " ")
			out.code = code(rest)
			return out, nil
		}
		if strings.HasPrefix(line, "+ ") && verb == "IDLE" {
			if _, err := io.WriteString(a.conn, "DONE\r\n"); err != nil {
				return nil, err
			}
			continue
		}
		rest, ok := strings.CutPrefix(line, "* ")
		if !ok {
			return nil, fmt.Errorf("nothing asked for %q", line)
		}
		r, err := parseResponse(rest)
		if err == nil {
			err = a.believe(r, numbered)
		}
		if err != nil {
			return nil, fmt.Errorf("in the answer to %.100q, %.200q: %w", text, line, err)
		}
		out.untagged = append(out.untagged, r)
	}
}

// must is do for a command that cannot fail, unless its mailbox is deleted meanwhile.
func (a *actor) must(text string) (*reply, error) {
	if strings.HasPrefix(a.asked, "Passing") {
		return a.may(text, raced...)
	}
	r, err := a.do(text)
	if err == nil && r.status != "OK" {
		err = fmt.Errorf("%.100q was answered by %s [%s]", text, r.status, r.code)
	}
	return r, err
}

// may is do for a command that may be refused, as others do things at the same time.
func (a *actor) may(text string, codes ...string) (*reply, error) {
	r, err := a.do(text)
	if err == nil && r.status != "OK" {
		word, _, _ := strings.Cut(r.code, " ")
		if strings.HasPrefix(a.asked, "Passing") {
			codes = raced
		}
		if r.status != "NO" || !slices.Contains(codes, word) {
			err = fmt.Errorf("%.100q was answered by %s [%s]", text, r.status, r.code)
		}
	}
	return r, err
}

// believe takes in an untagged response.
func (a *actor) believe(r *response, numbered bool) error {
	switch r.name {
	case "BYE":
		return errBye
	case "OK":
		a.heardCode(code(r.status))
	case "EXISTS":
		if int(r.number) < len(a.list) {
			return fmt.Errorf("there were %d messages", len(a.list))
		}
		for len(a.list) < int(r.number) {
			a.list = append(a.list, &sighting{})
		}
	case "EXPUNGE":
		if r.number == 0 || int(r.number) > len(a.list) || numbered || a.qresync || a.uidOnly {
			return errors.New("no message can go so")
		}
		a.forget(int(r.number) - 1)
	case "VANISHED":
		if len(r.values) > 1 {
			return nil
		}
		uids, err := expand(r.values[0].text)
		if err != nil || numbered || !a.qresync && !a.uidOnly {
			return errors.Join(err, errors.New("no message can go so"))
		}
		for _, uid := range uids {
			i := slices.IndexFunc(a.list, func(s *sighting) bool { return s.uid == uid })
			if i < 0 && a.uidOnly {
				i = a.anyGap()
			}
			if i < 0 { // one of those whose UIDs were not told
				i = a.gap(uid)
				for _, s := range a.list {
					s.known = s.known && s.uid != 0
				}
			}
			if i < 0 {
				return fmt.Errorf("UID %d was not told of", uid)
			}
			a.list[i].uid = uid
			a.forget(i)
		}
	case "UIDFETCH": // of which the place is not told
		i := slices.IndexFunc(a.list, func(s *sighting) bool { return s.uid == r.number })
		if i < 0 {
			i = a.anyGap()
		}
		if i < 0 || !a.uidOnly {
			return errors.New("there is no such message")
		}
		a.list[i].uid = r.number
		return a.fetched(i, r.values[0].list)
	case "FETCH":
		if r.number == 0 || int(r.number) > len(a.list) || a.uidOnly {
			return fmt.Errorf("there are %d messages", len(a.list))
		}
		return a.fetched(int(r.number)-1, r.values[0].list)
	}
	return nil
}

// anyGap gives the place of some message of which the UID was not told, -1 if there is none.
func (a *actor) anyGap() int {
	return slices.IndexFunc(a.list, func(s *sighting) bool { return s.uid == 0 })
}

// gap gives the place of a UID among those that were not told, -1 if there is none.
func (a *actor) gap(uid uint32) int {
	first := 1 + slices.IndexFunc(a.list, func(s *sighting) bool { return s.uid > uid })
	for i, s := range slices.Backward(a.list) {
		switch {
		case first > 0 && i >= first-1:
		case s.uid == 0:
			return i
		case s.uid < uid:
			return -1
		}
	}
	return -1
}

// heardCode takes in what codes tell of selected mailboxes.
func (a *actor) heardCode(text string) {
	word, rest, _ := strings.Cut(text, " ")
	switch n, _ := (value{text: rest}).number(); word {
	case "CLOSED":
		a.mailbox, a.list = "", nil
	case "UIDVALIDITY":
		a.validity = a.space(a.asked, uint32(n))
	case "HIGHESTMODSEQ":
		a.modseq = n
	}
}

func (a *actor) forget(i int) {
	if uid := a.list[i].uid; uid > 0 {
		p := place{a.validity, uid}
		a.gone[p] = true
		a.witness.vanished(p)
	}
	a.list = slices.Delete(a.list, i, i+1)
}

// fetched takes in a FETCH response.
func (a *actor) fetched(i int, items []value) error {
	s := a.list[i]
	all := map[string]value{}
	for i := 0; i+1 < len(items); i += 2 {
		all[items[i].text] = items[i+1]
	}
	if a.uidOnly && a.gone[place{a.validity, s.uid}] {
		return errors.New("it was gone")
	}
	if v, ok := all["UID"]; ok {
		n, err := v.number()
		uid := uint32(n)
		if err != nil || s.uid != 0 && s.uid != uid {
			return fmt.Errorf("its UID was %d", s.uid)
		}
		for j, o := range a.list {
			if !a.uidOnly && o.uid != 0 && (j < i && o.uid >= uid || j > i && o.uid <= uid) {
				return fmt.Errorf("message %d has UID %d", j+1, o.uid)
			}
		}
		s.uid = uid
		if a.gone[place{a.validity, uid}] {
			return errors.New("it was gone")
		}
	}
	modseq := uint64(0)
	if v, ok := all["MODSEQ"]; ok && len(v.list) == 1 {
		var err error
		if modseq, err = v.list[0].number(); err != nil || modseq < s.modseq {
			return fmt.Errorf("its MODSEQ was %d", s.modseq)
		}
		s.modseq = modseq
	}
	if v, ok := all["FLAGS"]; ok {
		s.known, s.flags = true, flagsOf(v.texts()...)
	}
	if s.uid == 0 {
		return nil
	}
	p := place{a.validity, s.uid}
	subject := ""
	if v, ok := all["BODY[HEADER.FIELDS (SUBJECT)]"]; ok {
		subject = strings.TrimSpace(strings.TrimPrefix(v.text, "Subject: "))
	}
	a.witness.there(p, subject)
	if _, ok := all["FLAGS"]; ok {
		a.witness.told(p, state{s.flags, modseq})
	}
	return nil
}

// uids gives those that the actor knows.
func (a *actor) uids() []uint32 {
	var out []uint32
	for _, s := range a.list {
		if s.uid > 0 {
			out = append(out, s.uid)
		}
	}
	return out
}

// look asks for all that is new, and compares it with what others know.
func (a *actor) look() error {
	asked := time.Now()
	if _, err := a.must("NOOP"); err != nil {
		return err
	}
	if len(a.list) == 0 {
		a.witness.looked(a.name, a.validity, nil, asked)
		return nil
	}
	known := len(a.list)
	if err := a.fetchAll(); err != nil {
		return err
	}
	uids := map[uint32]bool{}
	for i, s := range a.list {
		if s.uid == 0 && i < known && !a.uidOnly {
			return fmt.Errorf("the UID of message %d was not told", i+1)
		}
		uids[s.uid] = true
	}
	delete(uids, 0)
	a.witness.looked(a.name, a.validity, uids, asked)
	if len(a.list) > 0 && a.witness.identifiedLess(a.validity, a.uids()) {
		_, err := a.may("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
		return err
	}
	return nil
}

// fetchAll asks for all messages. Nothing may go meanwhile, unless it is by UIDs.
func (a *actor) fetchAll() error {
	_, err := a.must(map[bool]string{true: "UID "}[a.uidOnly] + "FETCH 1:* (UID FLAGS MODSEQ)")
	return err
}

// identifiedLess tells whether there is one whose subject nobody knows.
func (w *witness) identifiedLess(validity uint64, uids []uint32) bool {
	return len(w.identified(validity, uids)) < len(uids)
}
