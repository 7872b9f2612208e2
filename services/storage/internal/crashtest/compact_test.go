package crashtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// stride keeps the test short: its about 200 steps are met over some runs. With 1 a run takes minutes.
var stride = flag.Int("compaction-stride", 4, "kill at each so many-th step of a compaction, from a random one on")

// Kinds of work that a victim does.
const (
	deliverWork = "deliver"
	compactWork = "compact"
)

// purged is an account that is purged while packs are compacted.
const purged = "dave"

// earlier are messages that lie in an object each, some of them only in part for those who stay.
func earlier() (list []job) {
	for i, accounts := range [][]string{{"bob"}, {purged}, {"carol"}, {"bob", purged}, {purged, "carol", "bob"}, {purged}, {"bob", "carol"}, {"carol"}} {
		id := fmt.Sprint("earlier-", i)
		list = append(list, job{id, accounts, fmt.Sprintf("Subject: %s\r\nMessage-ID: <%s@x>\r\n\r\nhere before\r\n", id, id)})
	}
	return list
}

// newCompaction is a scene with messages to compact.
func newCompaction(t *testing.T) *scene {
	t.Helper()
	s := newScene(t)
	s.work, s.before, s.first = compactWork, earlier(), "earlier-2"
	st, err := open(s.dir, s.ledger.Client(), &killer{})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range s.before {
		if err := deliver(t.Context(), st.client, j); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.stop(); err != nil {
		t.Fatal(err)
	}
	return s
}

// compactNow compacts, and deletes what is dead.
func compactNow(ctx context.Context, st *storage) error {
	for range 2 { // the second deletes what the first has emptied
		stream, err := st.admin.CompactStorage(ctx, &storagev1.CompactStorageRequest{Now: true})
		for err == nil {
			_, err = stream.Recv()
		}
		if !errors.Is(err, io.EOF) {
			return fmt.Errorf("compact: %w", err)
		}
	}
	return nil
}

// compactBeside purges an account and compacts, while messages come and go and are read.
func compactBeside(ctx context.Context, st *storage) error {
	errs := make(chan error, 4)
	go func() { errs <- work(ctx, st.client, nil) }()
	go func() { errs <- compactNow(ctx, st) }()
	go func() { errs <- readBob(ctx, st) }()
	go func() {
		_, err := st.admin.PurgeAccount(ctx, &storagev1.PurgeAccountRequest{AccountId: purged})
		if err == nil {
			err = compactNow(ctx, st)
		}
		errs <- err
	}()
	var failed error
	for range cap(errs) {
		failed = errors.Join(failed, <-errs)
	}
	return failed
}

// readBob reads all of bob's first messages, some times.
func readBob(ctx context.Context, st *storage) error {
	box, err := st.client.GetMailbox(ctx, &storagev1.GetMailboxRequest{AccountId: "bob", Key: &storagev1.GetMailboxRequest_Name{Name: "INBOX"}})
	if err != nil {
		return err
	}
	for range 2 {
		for uid := uint32(1); uid < box.GetMailbox().GetUidNext(); uid++ {
			stream, err := st.client.Read(ctx, &storagev1.ReadRequest{AccountId: "bob", MailboxId: box.GetMailbox().GetMailboxId(), Uid: uid})
			for err == nil {
				_, err = stream.Recv()
			}
			if !errors.Is(err, io.EOF) {
				return fmt.Errorf("read message %d: %w", uid, err)
			}
		}
	}
	return nil
}

// tidy looks whether the stores come to order by themselves a day after a victim has died.
func (s *scene) tidy() {
	t := s.t
	t.Helper()
	st, err := open(s.dir, s.ledger.Client(), &killer{ahead: 26 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.stop(); err != nil {
			t.Error(err)
		}
	}()
	_, err = st.admin.PurgeAccount(t.Context(), &storagev1.PurgeAccountRequest{AccountId: purged})
	if err != nil && !fault.Is(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND) {
		t.Fatal(err)
	}
	// The service itself began to sweep and to compact when it started, and may yet be at it.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if err := compactNow(t.Context(), st); err != nil {
			t.Fatal(err)
		}
		summary := s.verifyStorage(st)
		nothingLeft := summary.GetOrphans() == 0 && summary.GetWaiting() == 0 && summary.GetForeign() == 0 && summary.GetPacks() == summary.GetObjects()
		if t.Failed() || nothingLeft && 2*summary.GetFrameBytes() <= 3*summary.GetLiveBytes() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is more than what is alive: %v", summary)
		}
	}
}

func (s *scene) verifyStorage(st *storage) (summary *storagev1.StorageSummary) {
	t := s.t
	t.Helper()
	stream, err := st.admin.VerifyStorage(t.Context(), &storagev1.VerifyStorageRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return summary
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.GetFindings() {
			if f.GetTrouble() {
				t.Errorf("verify: %v", f)
			}
		}
		if r.GetSummary() != nil {
			summary = r.GetSummary()
		}
	}
}

func TestCompactionKilledAtAStepLosesAndLeavesNothing(t *testing.T) {
	const together = 6 // they mostly wait for the disk
	var survived atomic.Int64
	runs, offset := 0, rand.IntN(*stride)
	for ; survived.Load() == 0 && !t.Failed(); runs += together {
		t.Run(fmt.Sprint("runs from ", runs), func(t *testing.T) {
			for run := runs; run < runs+together; run++ {
				step := 1 + offset + run**stride
				t.Run(fmt.Sprint("step ", step), func(t *testing.T) {
					t.Parallel()
					s := newCompaction(t)
					cmd, acknowledged := s.start(int64(step))
					if !killed(t, cmd) {
						survived.Add(1)
					}
					s.verify(acknowledged())
					s.tidy()
				})
			}
		})
	}
	// A compaction alone claims, reads, announces, writes, moves, releases, and deletes.
	if steps := (runs - int(survived.Load())) * *stride; !t.Failed() && steps < 60 {
		t.Errorf("the victim has only about %d steps", steps)
	}
	t.Logf("killed at %d steps, each %d from %d on", runs-int(survived.Load()), *stride, 1+offset)
}

func TestCompactionKilledAtAnyMomentLosesAndLeavesNothing(t *testing.T) {
	for round := range 10 {
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
			s := newCompaction(t)
			cmd, acknowledged := s.start(0)
			timer := time.AfterFunc(time.Duration(rand.IntN(250))*time.Millisecond, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
			killed(t, cmd)
			s.verify(acknowledged())
			s.tidy()
		})
	}
}
