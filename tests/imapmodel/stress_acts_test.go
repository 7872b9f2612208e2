package imapmodel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// crowded is how many messages a mailbox has of which rather some go than more come.
const crowded = 80

// raced are the codes of refusals that another client can have brought about.
var raced = []string{"TRYCREATE", "NONEXISTENT", "EXPUNGEISSUED", "ALREADYEXISTS", "HASCHILDREN"}

func (a *actor) anyMailbox(r *rand.Rand) string {
	if a.guest {
		return guestMailboxes[r.IntN(len(guestMailboxes))]
	}
	if r.IntN(6) == 0 {
		return fmt.Sprint("Passing", r.IntN(4))
	}
	return shared[r.IntN(len(shared))]
}

// act does one thing, and tells what.
func (a *actor) act(r *rand.Rand) (string, error) {
	if a.mailbox == "" || r.IntN(25) == 0 {
		return "select", a.selects(r)
	}
	n := r.IntN(100)
	switch {
	case n < 25:
		return "look", a.look()
	case n < 37:
		return "append", a.append(r)
	case n < 40 && !a.guest:
		return "manage", a.manage(r)
	case n < 43:
		return "status", a.status(r)
	case n < 50:
		_, err := a.must("IDLE")
		return "idle", err
	case n < 56:
		return "search", a.search(r)
	}
	chosen := a.witness.identified(a.validity, a.some(r))
	if len(chosen) == 0 {
		return "look", a.look()
	}
	switch {
	case n < 75 && len(a.list) < 2*crowded:
		return "store", a.store(r, chosen)
	case n < 80:
		_, err := a.may(fmt.Sprintf("UID FETCH %s (FLAGS MODSEQ RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])", setOf(chosen)))
		return "fetch", err
	case n < 84 && len(a.list) < crowded:
		return "copy", a.transfer(r, "COPY", chosen)
	case n < 88:
		return "move", a.transfer(r, "MOVE", chosen)
	case n < 91:
		return "replace", a.replace(r, chosen[0])
	case n < 96 && len(a.list) < crowded:
		return "expunge", a.expunge(r, chosen)
	}
	a.witness.flags(a.validity, chosen)
	if _, err := a.may(fmt.Sprintf(`UID STORE %s +FLAGS.SILENT (\Deleted)`, setOf(chosen))); err != nil {
		return "store", err
	}
	a.unsure(chosen)
	if r.IntN(4) > 0 {
		return "store", nil
	}
	validity := a.validity
	_, err := a.must("CLOSE")
	a.witness.expunged(validity, nil)
	a.mailbox, a.list = "", nil
	return "close", err
}

func (a *actor) expunge(r *rand.Rand, chosen []uint32) error {
	command, validity := "UID EXPUNGE "+setOf(chosen), a.validity
	if r.IntN(2) == 0 {
		command, chosen = "EXPUNGE", nil
	}
	_, err := a.must(command)
	a.witness.expunged(validity, chosen)
	return err
}

// some picks a few UIDs, more where there are many.
func (a *actor) some(r *rand.Rand) []uint32 {
	uids := a.uids()
	if len(uids) == 0 {
		return nil
	}
	from := r.IntN(len(uids))
	return uids[from:min(len(uids), from+1+r.IntN(3+len(uids)/8))]
}

// unsure forgets the flags of messages after a silent change.
func (a *actor) unsure(uids []uint32) {
	for _, s := range a.list {
		if slices.Contains(uids, s.uid) {
			s.known = false
		}
	}
}

func (a *actor) selects(r *rand.Rand) error {
	name := a.anyMailbox(r)
	floor := a.witness.floors()
	asked := time.Now()
	answer, err := a.choose([]string{"SELECT ", "EXAMINE "}[r.IntN(8)/7]+quoted(name), name)
	if err != nil || answer.status != "OK" {
		return err
	}
	a.mailbox = name
	a.witness.covers(a.validity, a.modseq, floor[a.validity])
	p := point{mailbox: name, validity: a.validity, modseq: a.modseq}
	if len(a.list) > 0 {
		if err := a.fetchAll(); err != nil {
			return err
		}
	}
	p.states = a.states()
	delete(p.states, 0)
	a.witness.remember(p)
	known := map[uint32]bool{}
	for uid := range p.states {
		known[uid] = true
	}
	a.witness.looked(a.name, a.validity, known, asked)
	if answer.code == "READ-ONLY" { // there is little to do
		_, err = a.must("UNSELECT")
		a.mailbox, a.list = "", nil
	}
	return err
}

// floors gives the modification sequences that the mailboxes must have by now.
func (w *witness) floors() map[uint64]uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[uint64]uint64{}
	for validity, modseq := range w.highest {
		out[validity] = modseq
	}
	return out
}

// maxPoints is how many are remembered.
const maxPoints = 200

func (w *witness) remember(p point) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.points) < maxPoints {
		w.points = append(w.points, p)
	} else {
		w.points[rand.IntN(maxPoints)] = p
	}
}

// letter makes a message with a subject that no other one has.
func (a *actor) letter(r *rand.Rand) (subject, text string) {
	subject = fmt.Sprintf("%s-%d-%d", a.name, a.tags, r.Uint32())
	mail := "Subject: " + subject + "\r\nFrom: a@example.test\r\n\r\n" + strings.Repeat("text\r\n", 1+r.IntN(20))
	return subject, fmt.Sprintf(" (%s) {%d+}\r\n%s", []string{`\Seen`, `\Flagged`, "", "Work"}[r.IntN(4)], len(mail), mail)
}

func (a *actor) append(r *rand.Rand) error {
	if len(a.list) > crowded {
		return a.look()
	}
	to := a.anyMailbox(r)
	command := "APPEND " + quoted(to)
	var subjects []string
	for range 1 + r.IntN(2) {
		subject, text := a.letter(r)
		subjects, command = append(subjects, subject), command+text
	}
	answer, err := a.may(command, raced...)
	if err != nil || answer.status != "OK" {
		return err
	}
	validity, uids, err := numbersIn(answer.code, "APPENDUID", 1)
	if err == nil && len(uids[0]) != len(subjects) {
		err = fmt.Errorf("%s for %d messages", answer.code, len(subjects))
	}
	for i, subject := range subjects {
		if err == nil {
			a.witness.there(place{a.space(to, validity), uids[0][i]}, subject)
		}
	}
	return err
}

// numbersIn reads a code with UIDVALIDITY and sets of UIDs.
func numbersIn(code, word string, sets int) (validity uint32, uids [][]uint32, err error) {
	fields := strings.Fields(code)
	if len(fields) != 2+sets || fields[0] != word {
		return 0, nil, fmt.Errorf("the code is %q", code)
	}
	for _, field := range fields[1:] {
		numbers, err := expand(field)
		if err != nil {
			return 0, nil, err
		}
		uids = append(uids, numbers)
	}
	return uids[0][0], uids[1:], nil
}

func (a *actor) transfer(r *rand.Rand, verb string, chosen []uint32) error {
	from, to := a.validity, a.anyMailbox(r)
	answer, err := a.may(fmt.Sprintf("UID %s %s %s", verb, setOf(chosen), quoted(to)), raced...)
	if err != nil {
		a.witness.leavesOpen(from, chosen)
		return err
	}
	codes := []string{answer.code}
	for _, line := range answer.untagged {
		codes = append(codes, code(line.status))
	}
	for _, c := range codes {
		if !strings.HasPrefix(c, "COPYUID ") {
			continue
		}
		validity, uids, err := numbersIn(c, "COPYUID", 2)
		if err != nil || len(uids[0]) != len(uids[1]) {
			return fmt.Errorf("%q: %w", c, err)
		}
		for i := range uids[0] {
			if !slices.Contains(chosen, uids[0][i]) {
				return fmt.Errorf("%q: UID %d was not chosen", c, uids[0][i])
			}
			a.witness.copied(place{from, uids[0][i]}, place{a.space(to, validity), uids[1][i]})
			if verb == "MOVE" {
				a.witness.took(place{from, uids[0][i]})
			}
		}
	}
	return nil
}

func (a *actor) replace(r *rand.Rand, uid uint32) error {
	from := place{a.validity, uid}
	subject, text := a.letter(r)
	to := a.anyMailbox(r)
	answer, err := a.may(fmt.Sprintf("UID REPLACE %d %s%s", uid, quoted(to), text), raced...)
	if err != nil {
		a.witness.leavesOpen(from.validity, []uint32{uid})
		return err
	}
	for _, line := range answer.untagged {
		if c := code(line.status); strings.HasPrefix(c, "APPENDUID ") {
			validity, uids, err := numbersIn(c, "APPENDUID", 1)
			if err != nil {
				return err
			}
			a.witness.there(place{a.space(to, validity), uids[0][0]}, subject)
			a.witness.took(from)
		}
	}
	return nil
}

func (a *actor) store(r *rand.Rand, chosen []uint32) error {
	op := []string{"+", "-", ""}[r.IntN(3)]
	flag := []string{`\Seen`, `\Flagged`, `\Answered`, "Work", "$Junk", `\Deleted`}[r.IntN(6)]
	if flag == `\Deleted` && op != "-" {
		a.witness.flags(a.validity, chosen)
	}
	condition := ""
	if r.IntN(4) == 0 {
		condition = fmt.Sprintf(" (UNCHANGEDSINCE %d)", a.modseq)
	}
	if r.IntN(3) == 0 {
		_, err := a.may(fmt.Sprintf("UID STORE %s%s %sFLAGS.SILENT (%s)", setOf(chosen), condition, op, flag))
		a.unsure(chosen)
		return err
	}
	if r.IntN(2) == 0 && condition == "" && !a.uidOnly {
		i := r.IntN(len(a.list))
		if uid := a.list[i].uid; uid == 0 || len(a.witness.identified(a.validity, []uint32{uid})) == 0 {
			return nil
		}
		if flag == `\Deleted` {
			a.witness.flags(a.validity, []uint32{a.list[i].uid})
		}
		_, err := a.may(fmt.Sprintf("STORE %d %sFLAGS (%s)", i+1, op, flag), raced...)
		return err
	}
	_, err := a.may(fmt.Sprintf("UID STORE %s%s %sFLAGS (%s)", setOf(chosen), condition, op, flag))
	return err
}

func (a *actor) search(r *rand.Rand) error {
	key := []string{"ALL", "UNSEEN", "DELETED", "SUBJECT delivered", "NOT FLAGGED", "MODSEQ 5"}[r.IntN(6)]
	uid := r.IntN(2) == 0 || a.uidOnly
	answer, err := a.must(map[bool]string{true: "UID "}[uid] + "SEARCH RETURN (ALL) " + key)
	if err != nil {
		return err
	}
	for _, line := range answer.untagged {
		if line.name != "ESEARCH" {
			continue
		}
		_, numbers, err := esearch(line)
		if err != nil {
			return err
		}
		for _, n := range numbers {
			if uid && a.gone[place{a.validity, n}] && !slices.ContainsFunc(answer.untagged, func(r *response) bool { return r.name == "EXPUNGE" || r.name == "VANISHED" }) || !uid && int(n) > len(a.list) {
				return fmt.Errorf("%d was found, and is not there", n)
			}
		}
	}
	return nil
}

func (a *actor) status(r *rand.Rand) error {
	floor := a.witness.floors()
	name := a.anyMailbox(r)
	answer, err := a.may("STATUS "+quoted(name)+" (UIDVALIDITY HIGHESTMODSEQ)", raced...)
	if err != nil {
		return err
	}
	for _, line := range answer.untagged {
		if line.name == "STATUS" {
			validity, err := line.values[1].list[1].number()
			if err != nil {
				return err
			}
			modseq, err := line.values[1].list[3].number()
			if err != nil {
				return err
			}
			of := a.space(name, uint32(validity))
			a.witness.covers(of, modseq, floor[of])
		}
	}
	return nil
}
