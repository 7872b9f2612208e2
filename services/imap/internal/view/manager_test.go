package view

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// server has mailboxes whose messages carry nothing but flags.
type server struct {
	storagev1.UnimplementedStorageServiceServer
	mu      sync.Mutex
	boxes   map[uint64]*truth
	gone    map[uint64]map[uint32]uint64
	streams map[*stream]bool
	watched map[uint64]int // subscriptions, over all streams
	syncs   int
	down    bool          // Sync fails
	deaf    bool          // Watch fails
	mute    bool          // notices get lost
	since   uint64        // of the last Sync
	hold    chan struct{} // if not nil, the next Sync answers what it has read when this is closed
}

type stream struct {
	keys map[uint64]bool
	out  chan *storagev1.WatchResponse
	cut  chan struct{}
}

func newServer() *server {
	return &server{boxes: map[uint64]*truth{}, gone: map[uint64]map[uint32]uint64{}, streams: map[*stream]bool{}, watched: map[uint64]int{}}
}

func (s *server) add(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.boxes[id] = &truth{uidNext: 1, modseq: 1}
	s.gone[id] = map[uint32]uint64{}
}

// deliver adds a message and tells the watchers.
func (s *server) deliver(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.boxes[id]
	m.modseq++
	m.states = append(m.states, &storagev1.MessageState{Uid: m.uidNext, Modseq: m.modseq})
	m.uidNext++
	s.tell(&storagev1.WatchResponse_Change{AccountId: "a", MailboxId: id, Modseq: m.modseq})
}

func (s *server) tell(change *storagev1.WatchResponse_Change) {
	for st := range s.streams {
		if st.keys[change.MailboxId] && !s.mute {
			st.out <- &storagev1.WatchResponse{Changes: []*storagev1.WatchResponse_Change{change}}
		}
	}
}

func (s *server) remove(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.boxes, id)
	s.tell(&storagev1.WatchResponse_Change{AccountId: "a", MailboxId: id, Deleted: true})
}

// cut breaks all streams.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.streams {
		close(st.cut)
	}
	clear(s.streams)
}

func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *server) Sync(req *storagev1.SyncRequest, out grpc.ServerStreamingServer[storagev1.SyncResponse]) error {
	answer, hold, err := s.sync(req)
	if err != nil {
		return err
	}
	if hold != nil {
		<-hold
	}
	return out.Send(answer)
}

func (s *server) sync(req *storagev1.SyncRequest) (answer *storagev1.SyncResponse, hold chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.syncs++
	s.since = req.SinceModseq
	hold, s.hold = s.hold, nil
	if s.down {
		return nil, nil, fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "down")
	}
	m := s.boxes[req.MailboxId]
	if m == nil {
		return nil, nil, fault.New(codes.NotFound, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND, "gone")
	}
	answer = &storagev1.SyncResponse{Mailbox: &storagev1.Mailbox{UidNext: m.uidNext, UidValidity: 7, HighestModseq: m.modseq}}
	for _, state := range m.states {
		if state.Modseq > req.SinceModseq {
			answer.Changed = append(answer.Changed, state)
		}
	}
	return answer, hold, nil
}

func (s *server) Watch(in grpc.BidiStreamingServer[storagev1.WatchRequest, storagev1.WatchResponse]) error {
	st := &stream{keys: map[uint64]bool{}, out: make(chan *storagev1.WatchResponse, 1000), cut: make(chan struct{})}
	s.mu.Lock()
	deaf := s.deaf
	if !deaf {
		s.streams[st] = true
	}
	s.mu.Unlock()
	if deaf {
		return fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "deaf")
	}
	go func() {
		for {
			req, err := in.Recv()
			if err != nil {
				return
			}
			s.mu.Lock()
			for _, k := range req.Subscribe {
				st.keys[k.MailboxId] = true
				s.watched[k.MailboxId]++
				if m := s.boxes[k.MailboxId]; m != nil {
					st.out <- &storagev1.WatchResponse{Changes: []*storagev1.WatchResponse_Change{{AccountId: "a", MailboxId: k.MailboxId, Modseq: m.modseq}}}
				}
			}
			for _, k := range req.Unsubscribe {
				delete(st.keys, k.MailboxId)
				s.watched[k.MailboxId]--
			}
			s.mu.Unlock()
		}
	}()
	for {
		select {
		case m := <-st.out:
			if err := in.Send(m); err != nil {
				return err
			}
		case <-st.cut:
			return fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "cut")
		case <-in.Context().Done():
			return in.Context().Err()
		}
	}
}

// run gives a manager over the server in a bubble of its own time.
func run(t *testing.T, test func(t *testing.T, s *server, m *Manager)) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		in := rpc.NewInproc(slog.New(slog.DiscardHandler), nil)
		storagev1.RegisterStorageServiceServer(in, s)
		m := NewManager(storagev1.NewStorageServiceClient(in.Client("imap")), Options{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { m.Run(ctx) })
		synctest.Wait()
		test(t, s, m)
		cancel()
		m.Close()
		running.Wait()
		synctest.Wait()
	})
}

func open(t *testing.T, m *Manager, id uint64) *Handle {
	t.Helper()
	h, err := m.Open(t.Context(), "a", id)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// expect waits for a signal and compares the number of messages.
func expect(t *testing.T, h *Handle, messages int) {
	t.Helper()
	for h.Snapshot().Len() != messages {
		select {
		case <-h.Changed():
		case <-time.After(time.Hour):
			t.Fatalf("view has %d messages, want %d", h.Snapshot().Len(), messages)
		}
	}
}

func TestNoticesUpdateAllHandles(t *testing.T) {
	run(t, func(t *testing.T, s *server, m *Manager) {
		s.add(1)
		a, b := open(t, m, 1), open(t, m, 1)
		begun := time.Now()
		s.deliver(1)
		expect(t, a, 1)
		expect(t, b, 1)
		if a.Snapshot() != b.Snapshot() {
			t.Error("two sessions have two copies")
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("a notice took %v, as if the mailbox were polled", took)
		}
		if got := testutil.ToFloat64(m.metrics.messages); got != 1 {
			t.Errorf("metric counts %v messages", got)
		}
		a.Close()
		a.Close() // once is enough
		s.deliver(1)
		expect(t, b, 2)
		b.Close()
		synctest.Wait()
		s.set(func() {
			if s.watched[1] != 0 {
				t.Errorf("%d subscriptions are left", s.watched[1])
			}
		})
		if got := testutil.ToFloat64(m.metrics.messages); got != 0 {
			t.Errorf("metric counts %v messages", got)
		}
		if got := testutil.ToFloat64(m.metrics.views); got != 0 {
			t.Errorf("metric counts %v views", got)
		}
	})
}

func TestWatchComesBack(t *testing.T) {
	run(t, func(t *testing.T, s *server, m *Manager) {
		s.add(1)
		h := open(t, m, 1)
		s.set(func() { s.deaf = true })
		s.cut()
		s.deliver(1) // nobody hears of it
		begun := time.Now()
		expect(t, h, 1)
		if took := time.Since(begun); took > m.opts.PollInterval+m.opts.MaxBackoff {
			t.Errorf("without notices it took %v", took)
		}
		s.set(func() { s.deaf = false })
		time.Sleep(2 * m.opts.MaxBackoff) // in the bubble's time
		begun = time.Now()
		s.deliver(1)
		expect(t, h, 2)
		if took := time.Since(begun); took != 0 {
			t.Errorf("after the stream came back it took %v", took)
		}
		h.Close()
	})
}

func TestLostNoticeCostsLatencyOnly(t *testing.T) {
	run(t, func(t *testing.T, s *server, m *Manager) {
		s.add(1)
		h := open(t, m, 1)
		synctest.Wait()
		s.set(func() { s.mute = true })
		s.deliver(1)
		expect(t, h, 1)
		h.Close()
	})
}

func TestOutage(t *testing.T) {
	run(t, func(t *testing.T, s *server, m *Manager) {
		s.add(1)
		h := open(t, m, 1)
		s.set(func() { s.down = true })
		s.deliver(1)
		if err := h.Refresh(t.Context()); !fault.Is(err, rpcv1.Reason_REASON_UNAVAILABLE) {
			t.Errorf("refresh during the outage: %v", err)
		}
		if h.Dead() || h.Snapshot().Len() != 0 {
			t.Error("the view did not stay as it was")
		}
		s.set(func() { s.down = false })
		if err := h.Await(t.Context(), 2); err != nil || h.Snapshot().Len() != 1 {
			t.Errorf("after the outage: %v, %d messages", err, h.Snapshot().Len())
		}
		h.Close()
		s.set(func() { s.down = true })
		if _, err := m.Open(t.Context(), "a", 1); !fault.Is(err, rpcv1.Reason_REASON_UNAVAILABLE) {
			t.Errorf("open during the outage: %v", err)
		}
	})
}

func TestDeletedMailbox(t *testing.T) {
	run(t, func(t *testing.T, s *server, m *Manager) {
		s.add(1)
		h := open(t, m, 1)
		synctest.Wait()
		s.remove(1)
		synctest.Wait()
		if !h.Dead() {
			t.Error("the view lives on")
		}
		if err := h.Refresh(t.Context()); !errors.Is(err, ErrDead) {
			t.Errorf("refresh of a dead view: %v", err)
		}
		if _, err := m.Open(t.Context(), "a", 1); !errors.Is(err, ErrDead) {
			t.Errorf("open of a deleted mailbox: %v", err)
		}
		s.add(1)
		again := open(t, m, 1)
		s.deliver(1)
		expect(t, again, 1)
		h.Close()
		again.Close()
	})
}

// TestRefreshesAreShared has many sessions ask at once: each gets an answer from after its question, by few syncs.
func TestRefreshesAreShared(t *testing.T) {
	run(t, func(t *testing.T, s *server, m *Manager) {
		s.add(1)
		h := open(t, m, 1)
		synctest.Wait()
		var before int
		s.set(func() { before = s.syncs; s.mute = true })
		s.deliver(1)
		var group sync.WaitGroup
		seen := make([]int, 50)
		for i := range seen {
			group.Go(func() {
				if err := h.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
				seen[i] = h.Snapshot().Len()
			})
		}
		group.Wait()
		if slices.Contains(seen, 0) {
			t.Error("a refresh ended without the change that came before it")
		}
		s.set(func() {
			if n := s.syncs - before; n > 50 {
				t.Errorf("50 refreshes made %d syncs", n)
			}
		})
		h.Close()
	})
}

func TestEndedContextEndsTheWait(t *testing.T) {
	run(t, func(t *testing.T, s *server, m *Manager) {
		s.add(1)
		h := open(t, m, 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := h.Await(ctx, 99); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		h.Close()
	})
}

// TestOpeningWhileOthersSync: to open a view and to sync it take both locks, and must not wait for each other.
func TestOpeningWhileOthersSync(t *testing.T) {
	s := newServer()
	s.add(1)
	in := rpc.NewInproc(slog.New(slog.DiscardHandler), nil)
	storagev1.RegisterStorageServiceServer(in, s)
	m := NewManager(storagev1.NewStorageServiceClient(in.Client("imap")), Options{Log: slog.New(slog.DiscardHandler)})
	defer m.Close()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 500 {
				h, err := m.Open(t.Context(), "a", 1)
				if err != nil {
					t.Error(err)
					return
				}
				if err := h.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
				h.Close()
			}
		})
	}
	group.Wait()
}
