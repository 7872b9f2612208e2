package ledgertest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

const (
	modelAccounts = 3
	modelWorkers  = 8
	modelSteps    = 150
	modelLimit    = 100
)

// outbox is storage's side of one account: what it committed, and which events it would still send.
type outbox struct {
	mu     sync.Mutex
	events []ledger.Event
	sizes  []int64 // of the messages that are stored
	acked  int64
}

// commit stores a message and its event in one step, as storage's transaction does.
func (o *outbox) commit(account, reservation string, size int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sizes = append(o.sizes, size)
	o.events = append(o.events, ledger.Event{AccountID: account, Sequence: int64(len(o.events)) + 1,
		Delta: amount(size, 1), ReservationIDs: []string{reservation}})
}

// expunge removes a message, if there is one.
func (o *outbox) expunge(account string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.sizes) == 0 {
		return
	}
	size := o.sizes[0]
	o.sizes = o.sizes[1:]
	o.events = append(o.events, ledger.Event{AccountID: account, Sequence: int64(len(o.events)) + 1, Delta: amount(-size, -1)})
}

// send gives some events as a bad network would: from before what was acknowledged, with pieces missing and turned around.
func (o *outbox) send(rng *rand.Rand) []ledger.Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	from := max(0, o.acked-int64(rng.IntN(3)))
	var out []ledger.Event
	for _, e := range o.events[from:] {
		switch rng.IntN(12) {
		case 0: // lost
		case 1: // twice
			out = append(out, e, e)
		default:
			out = append(out, e)
		}
	}
	if rng.IntN(6) == 0 {
		rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	}
	return out
}

func (o *outbox) acknowledge(sequence int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.acked = max(o.acked, sequence)
}

func (o *outbox) sum() (n ledger.Amount) {
	for _, size := range o.sizes {
		n.Bytes += size
		n.Messages++
	}
	return n
}

// testModel lets many workers on two replicas reserve, write, fail, give up, settle badly and expire, and then compares with
// what storage holds.
func testModel(t *testing.T, open Open) {
	m := &model{fixture: setup(t, open)}
	m.replicas = []*ledger.Ledger{m.Ledger, m.replica()}
	for i := range modelAccounts {
		id := fmt.Sprintf("account-%d", i)
		m.must(m.Open(t.Context(), ledger.Account{ID: id, Domain: "example.test"}))
		m.accounts = append(m.accounts, id)
		m.outboxes = append(m.outboxes, &outbox{})
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var workers sync.WaitGroup
	for w := range modelWorkers {
		workers.Go(func() { m.work(w, rand.New(rand.NewPCG(seed, uint64(w)))) }) //nolint:gosec // G404: a test that can be repeated
	}
	workers.Wait()
	m.finish()
}

type model struct {
	*fixture
	replicas []*ledger.Ledger
	accounts []string
	outboxes []*outbox
}

func (m *model) work(worker int, rng *rand.Rand) {
	ctx, l := m.t.Context(), m.replicas[worker%len(m.replicas)]
	for step := range modelSteps {
		i := rng.IntN(modelAccounts)
		account, box := m.accounts[i], m.outboxes[i]
		var err error
		switch rng.IntN(10) {
		case 0:
			box.expunge(account)
		case 1, 2:
			err = m.settleSome(l, rng)
		case 3:
			// Less than the life of a reservation: what expires was given up by its writer.
			m.clock.pass(time.Millisecond)
			_, err = l.Expire(ctx)
		default:
			err = m.write(l, rng, i, fmt.Sprintf("%d-%d", worker, step))
		}
		if err != nil {
			m.t.Errorf("worker %d step %d: %v", worker, step, err)
			return
		}
		usage, err := l.Usage(ctx, account)
		if err != nil || usage.Used.Bytes+usage.Reserved.Bytes > modelLimit {
			m.t.Errorf("worker %d step %d: used %d and reserved %d pass the limit %d (%v)",
				worker, step, usage.Used.Bytes, usage.Reserved.Bytes, modelLimit, err)
			return
		}
	}
}

// write reserves, for itself and sometimes for the next account too, and then commits, releases, or forgets to do either.
func (m *model) write(l *ledger.Ledger, rng *rand.Rand, i int, id string) error {
	var batch []ledger.Reservation
	for k := range 1 + rng.IntN(2) {
		batch = append(batch, ledger.Reservation{ID: fmt.Sprintf("%s-%d", id, k), AccountID: m.accounts[(i+k)%modelAccounts],
			Amount: amount(1+rng.Int64N(30), 1)})
	}
	results, err := l.Reserve(m.t.Context(), batch)
	if err != nil {
		return err
	}
	for k, r := range batch {
		if !results[k].Granted {
			continue
		}
		switch rng.IntN(8) {
		case 0:
			err = l.Release(m.t.Context(), []string{r.ID, r.ID})
		case 1: // the writer died
		default:
			m.outboxes[(i+k)%modelAccounts].commit(r.AccountID, r.ID, r.Amount.Bytes)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settleSome sends events of all accounts in one call.
func (m *model) settleSome(l *ledger.Ledger, rng *rand.Rand) error {
	var events []ledger.Event
	for _, box := range m.outboxes {
		events = append(events, box.send(rng)...)
	}
	s, err := l.Settle(m.t.Context(), events)
	if err != nil {
		return err
	}
	for i, account := range m.accounts {
		m.outboxes[i].acknowledge(s.Applied[account])
	}
	return nil
}

// finish settles what is left in order, lets the reservations of dead writers expire, and compares.
func (m *model) finish() {
	var events []ledger.Event
	for _, box := range m.outboxes {
		events = append(events, box.events...)
	}
	_, err := m.Settle(m.t.Context(), events)
	m.must(err)
	m.clock.pass(ttl)
	_, err = m.Expire(m.t.Context())
	m.must(err)
	for i, account := range m.accounts {
		m.wantUsage(account, m.outboxes[i].sum(), amount(0, 0))
		at, err := m.Position(m.t.Context(), account)
		m.must(err)
		if want := int64(len(m.outboxes[i].events)); at.Sequence != want || want == 0 {
			m.t.Errorf("%s is at event %d of %d", account, at.Sequence, want)
		}
	}
}
