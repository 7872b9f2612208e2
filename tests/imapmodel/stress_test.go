package imapmodel

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

var (
	durationFlag = flag.Duration("stress.duration", 10*time.Second, "how long the clients of the stress work")
	clientsFlag  = flag.Int("stress.clients", 50, "how many they are")
	shapeFlag    = flag.String("stress.shape", string(harness.AllInOne), "all-in-one, split or production")
)

// stage is where the actors of the stress work.
type stage struct {
	t       *testing.T
	sys     *harness.System
	witness *witness
}

// shared are the mailboxes that are always there; others come and go. The last two are open to another account, which has the
// mailboxes of guestMailboxes.
var (
	shared         = []string{inbox, "Archive", "Shared/One", "Shared/Two"}
	others         = "Other Users/" + harness.Address("alice") + "/"
	guestMailboxes = []string{inbox, others + "Shared/One", others + "Shared/Two", others + "Shared/Two"}
)

// TestManyClientsDoEverythingAtOnce: what any of them is told is true together with what all the others are told, and with what is left.
func TestManyClientsDoEverythingAtOnce(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", seed)
	gateways := 1
	if *shapeFlag == string(harness.Split) {
		gateways = 2
	}
	s := harness.Start(t, harness.Options{
		Shape: harness.Shape(*shapeFlag), IMAPGateways: gateways, Accounts: []string{"alice", "bob"}, Args: []string{
			"--directory-argon2-memory", "1MiB", "--directory-argon2-time", "1", "--directory-scram-iterations", "4096",
			"--imap-max-sessions-per-account", "1000",
		},
	})
	st := &stage{t: t, sys: s, witness: newWitness()}
	first, err := st.actor("first", 0, actorKind{})
	require.NoError(t, err)
	for _, name := range shared[2:] {
		_, err := first.must("CREATE " + name)
		require.NoError(t, err)
		_, err = first.must("SETACL " + name + " " + harness.Address("bob") + " lrswipkxtea")
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), *durationFlag)
	defer cancel()
	actors := make([]*actor, *clientsFlag)
	var group sync.WaitGroup
	group.Go(func() { st.deliver(ctx) })
	for i := range actors {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		group.Go(func() { actors[i] = st.work(ctx, i, r) })
	}
	group.Wait()
	st.end(actors)
	t.Log(st.witness.summary())
	for _, e := range st.witness.errors {
		t.Error(e)
	}
}

func (st *stage) actor(name string, gateway int, k actorKind) (*actor, error) {
	addr := st.sys.IMAPS[gateway%len(st.sys.IMAPS)]
	address := harness.Address(map[bool]string{true: "bob", false: "alice"}[k.guest])
	a, err := newActor(addr, st.sys.TLS(st.t), name, address, k, st.witness)
	if err == nil {
		st.t.Cleanup(func() { _ = a.conn.Close() })
	}
	return a, err
}

// work is what one client does until the time is over, or somebody was told what cannot be.
func (st *stage) work(ctx context.Context, i int, r *rand.Rand) *actor {
	var a *actor
	var err error
	for n := 0; ctx.Err() == nil && !st.witness.failed(); n++ {
		if a == nil {
			if a, err = st.actor(fmt.Sprintf("c%d.%d", i, n), i, actorKind{qresync: i%2 == 0, uidOnly: i%7 == 3, guest: i%5 == 4}); err != nil {
				st.witness.fail(err)
				return nil
			}
		}
		what, err := a.act(r)
		switch {
		case errors.Is(err, errBye) && strings.HasPrefix(a.asked, "Passing"): // it was deleted
			a = nil
		case err != nil:
			st.witness.fail(fmt.Errorf("%s, %s in %s: %w\n%s", a.name, what, a.mailbox, err, strings.Join(a.lines[max(0, len(a.lines)-maxLines):], "\n")))
			return a
		}
		st.witness.count(what)
	}
	return a
}

// deliver sends mail by LMTP all the time.
func (st *stage) deliver(ctx context.Context) {
	for n := 0; ctx.Err() == nil && !st.witness.failed(); n++ {
		subject := fmt.Sprint("delivered ", n)
		if err := st.lmtp(subject); err != nil {
			st.witness.fail(fmt.Errorf("deliver: %w", err))
			return
		}
		st.witness.mu.Lock()
		st.witness.acknowledged[subject] = true
		st.witness.mu.Unlock()
		st.witness.count("delivery")
	}
}

func (st *stage) lmtp(subject string) error {
	conn, err := net.DialTimeout("tcp", st.sys.LMTP, patience)
	if err != nil {
		return err
	}
	c := smtp.NewClientLMTP(conn)
	defer c.Close()
	return c.SendMail("sender@elsewhere.example", []string{harness.Address("alice")}, strings.NewReader(string(harness.Compose(subject, "text"))))
}

// end compares what the actors know with a session that knows nothing, and what is remembered with what QRESYNC makes of it.
func (st *stage) end(actors []*actor) {
	fresh, err := st.actor("fresh", 1, actorKind{qresync: true})
	require.NoError(st.t, err)
	guest, err := st.actor("guest", 1, actorKind{guest: true})
	require.NoError(st.t, err)
	truth := map[uint64]point{}
	learn := func(a *actor, name string) uint64 {
		p, err := a.point(name)
		require.NoError(st.t, err)
		require.NoError(st.t, a.look()) // subjects
		truth[p.validity] = p
		return p.validity
	}
	for _, name := range slices.Concat(shared[1:], fresh.names(st.t, "Passing*"), fresh.names(st.t, "Renamed/*")) {
		learn(fresh, name)
	}
	st.witness.inbox = learn(fresh, inbox)
	learn(guest, inbox)
	for _, a := range actors {
		if a == nil || a.mailbox == "" || st.witness.failed() {
			continue
		}
		t, there := truth[a.validity]
		switch err := a.look(); {
		case errors.Is(err, errBye) && strings.HasPrefix(a.asked, "Passing"):
		case err != nil:
			st.witness.fail(fmt.Errorf("%s at the end: %w", a.name, err))
		case there:
			require.Equal(st.t, t.states, a.states(), "%s, what %s knows", a.mailbox, a.name)
		}
	}
	if st.witness.failed() {
		return
	}
	st.witness.settle(truth)
	replayed := 0
	for _, p := range st.witness.points {
		if t, there := truth[p.validity]; there && p.validity != guest.validity {
			p.mailbox = t.mailbox // it may have been renamed
			require.NoError(st.t, fresh.replay(p))
			for uid, s := range p.states {
				s.modseq = t.states[uid].modseq
				p.states[uid] = s
			}
			require.Equal(st.t, t.states, p.states, "%s since %d", p.mailbox, p.modseq)
			replayed++
		}
	}
	st.t.Logf("%d points in time were replayed", replayed)
}

// names gives the mailboxes whose names match.
func (a *actor) names(t *testing.T, pattern string) (out []string) {
	r, err := a.must(`LIST "" ` + pattern)
	require.NoError(t, err)
	for _, line := range r.untagged {
		if line.name == "LIST" {
			out = append(out, line.values[2].text)
		}
	}
	return out
}

// states is what the actor knows of the messages.
func (a *actor) states() map[uint32]state {
	out := map[uint32]state{}
	for _, s := range a.list {
		out[s.uid] = s.state
	}
	return out
}

// point selects a mailbox and gives what there is, with the HIGHESTMODSEQ of the beginning.
func (a *actor) point(name string) (point, error) {
	if _, err := a.choose("SELECT "+name, name); err != nil {
		return point{}, err
	}
	a.mailbox = name
	p := point{mailbox: name, validity: a.validity, modseq: a.modseq, states: map[uint32]state{}}
	if len(a.list) > 0 {
		if _, err := a.may("UID FETCH 1:* (FLAGS MODSEQ)"); err != nil {
			return p, err
		}
		p.states = a.states()
		delete(p.states, 0) // what has come meanwhile
	}
	return p, nil
}

// choose is SELECT; the list is new.
func (a *actor) choose(text, name string) (*reply, error) {
	a.mailbox, a.asked, a.list, a.validity = "", name, nil, 0
	return a.may(text, "NONEXISTENT")
}

// replay resynchronises a client that was away since a point, and changes the point to what it then knows.
func (a *actor) replay(p point) error {
	r, err := a.choose(fmt.Sprintf("SELECT %s (QRESYNC (%d %d))", p.mailbox, p.validity, p.modseq), p.mailbox)
	if err != nil {
		return err
	}
	for _, line := range r.untagged {
		if line.name == "VANISHED" && len(line.values) == 2 {
			uids, err := expand(line.values[1].text)
			if err != nil {
				return err
			}
			for _, uid := range uids {
				delete(p.states, uid)
			}
		}
	}
	for _, s := range a.list {
		if s.uid > 0 && s.known {
			p.states[s.uid] = s.state
		}
	}
	return nil
}

// setOf gives numbers as a set that a command can have.
func setOf(uids []uint32) string {
	slices.Sort(uids)
	return ranges(slices.Compact(uids))
}
