package compact

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/pack"
)

// Frames that lie no further apart than readGap are read together, up to readBytes.
const (
	readGap   = 64 << 10
	readBytes = 4 << 20
	// readCost is what a read counts besides its octets.
	readCost = 4 << 10
)

// work is one unit: claimed packs that become one new pack.
type work struct {
	*Compactor
	holder  string
	packs   []meta.Pack
	urgent  bool
	live    []liveFrame
	bytes   int64  // of live
	made    string // the key of the new pack
	emptied []meta.Pack
	paused  []string // packs to be left alone for a while
	credit  int      // octets that may be copied before the next wait
	done    Totals
}

// liveFrame is a frame to be copied, in memory.
type liveFrame struct {
	meta.Frame
	stored pack.Stored
}

func (w *work) do(ctx context.Context) error {
	for _, p := range w.packs {
		if err := w.take(ctx, p); err != nil {
			return err
		}
	}
	if len(w.live) == 0 {
		return nil
	}
	if err := w.admit(ctx); err != nil {
		return err
	}
	// By account, so that who reads a mailbox finds its bodies side by side; and in the order in which they came.
	slices.SortFunc(w.live, func(a, b liveFrame) int {
		return cmp.Or(cmp.Compare(a.AccountID, b.AccountID), cmp.Compare(a.ContentID, b.ContentID))
	})
	return w.write(ctx)
}

// mostlyDead is the condition for which meta.ClaimPacks claims a pack of any size.
func mostlyDead(live, total int64) bool { return live*10 < total*7 }

// take reads the live frames of a pack, or corrects its shares if that is all it needs.
func (w *work) take(ctx context.Context, p meta.Pack) error {
	frames, err := w.Meta.Frames(ctx, p.Object)
	if err != nil {
		return fmt.Errorf("find frames of pack: %w", err)
	}
	if len(frames) == 0 { // all of it died meanwhile; else its counters are wrong
		w.paused = append(w.paused, p.Object)
		return nil
	}
	var live int64
	for _, f := range frames {
		live += f.Stored
	}
	reason := "small"
	if mostlyDead(p.Live, p.Total) {
		if reason = "dead"; !mostlyDead(live, p.Total) {
			return w.share(ctx, p, frames)
		}
	}
	if len(w.live) > 0 && w.bytes+live > 2*w.PackBytes {
		return nil // there is more in it than its shares told: later
	}
	damaged := w.done.Damaged
	for len(frames) > 0 {
		n := 1
		for n < len(frames) && frames[n].Offset-(frames[n-1].Offset+frames[n-1].Stored) <= readGap &&
			frames[n].Offset+frames[n].Stored-frames[0].Offset <= readBytes {
			n++
		}
		if err := w.read(ctx, frames[:n]); err != nil {
			return err
		}
		frames = frames[n:]
	}
	if w.done.Damaged > damaged {
		w.paused = append(w.paused, p.Object)
	} else {
		w.emptied = append(w.emptied, p)
	}
	w.done.Packs++
	w.Compactor.packs.WithLabelValues(reason).Inc()
	return nil
}

// share corrects the shares of a pack that is more alive than was counted.
func (w *work) share(ctx context.Context, p meta.Pack, frames []meta.Frame) error {
	more, err := w.Meta.ShareAnew(ctx, p.Object, frames)
	if err != nil {
		return fmt.Errorf("share pack anew: %w", err)
	}
	if more == 0 {
		w.Log.Error("the live octets of a pack are not what its contents add up to", "object", p.Object, "counted", p.Live)
		w.paused = append(w.paused, p.Object)
	}
	w.Compactor.packs.WithLabelValues("shared").Inc()
	w.done.Shared++
	return nil
}

// read reads frames of a pack that lie close to each other.
func (w *work) read(ctx context.Context, frames []meta.Frame) error {
	first, last := frames[0], frames[len(frames)-1]
	octets := make([]byte, last.Offset+last.Stored-first.Offset)
	n, err := w.fetch(ctx, first.Object, first.Offset, octets)
	if err != nil && !errors.Is(err, object.ErrNotFound) {
		return fmt.Errorf("read pack: %w", err)
	}
	octets = octets[:n]
	for _, f := range frames {
		start := f.Offset - first.Offset
		if start+f.Stored > int64(len(octets)) {
			w.damage(f, cmp.Or(err, fmt.Errorf("%w: the object ends before the frame does", pack.ErrCorrupt)))
			continue
		}
		// A copy, so that the dead between them do not stay in memory.
		stored, err := pack.ReadStored(pack.Frame{Offset: f.Offset, Stored: f.Stored, Size: f.Size, Sum: f.Sum}, bytes.Clone(octets[start:start+f.Stored]))
		if err != nil {
			w.damage(f, err)
			continue
		}
		w.live = append(w.live, liveFrame{f, stored})
		w.bytes += f.Stored
	}
	return nil
}

// fetch reads octets at an offset and tells how many there are.
func (w *work) fetch(ctx context.Context, key string, off int64, octets []byte) (int, error) {
	in, err := w.Objects.GetRange(ctx, key, off, int64(len(octets)))
	if err != nil {
		return 0, err
	}
	w.credit -= readCost
	n, err := io.ReadFull(&paced{ctx: ctx, work: w, r: in}, octets)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, errors.Join(err, in.Close())
}

// damage notes a frame that cannot be read. Nobody drops it: it may come back from a backup.
func (w *work) damage(f meta.Frame, err error) {
	w.done.Damaged++
	w.damaged.Inc()
	w.Log.Error("a stored body cannot be read and stays where it is", "object", f.Object, "offset", f.Offset, "octets", f.Stored, "messages", f.Refs, "error", err)
}

// admit makes sure that what is written leaves room for deleting.
func (w *work) admit(ctx context.Context) error {
	if w.Admit == nil || w.urgent {
		return nil
	}
	err := w.Admit(w.bytes)
	if err != nil && w.MakeRoom != nil {
		if err := w.MakeRoom(ctx); err != nil {
			return err
		}
		err = w.Admit(w.bytes)
	}
	if err != nil {
		return fmt.Errorf("write new pack: %w", err)
	}
	return nil
}

// write writes the new pack and points the contents to it.
func (w *work) write(ctx context.Context) error {
	key := body.NewKey(w.Now())
	w.made = key
	if err := w.Meta.AnnouncePack(ctx, key, w.holder, lease); err != nil {
		return fmt.Errorf("announce new pack: %w", err)
	}
	moves, err := w.put(ctx, key)
	moved := 0
	if err == nil {
		r := &meta.Rewritten{Object: key, Holder: w.holder, Lease: lease, Moves: map[string][]meta.Move{}}
		for _, m := range moves {
			r.Total += m.Stored
			r.Moves[m.Object] = append(r.Moves[m.Object], m)
		}
		for _, list := range r.Moves {
			slices.SortFunc(list, func(a, b meta.Move) int { return cmp.Compare(a.Offset, b.Offset) })
		}
		moved, err = w.Meta.MoveFrames(ctx, r)
	}
	if moved == 0 {
		// It may have become a pack nonetheless, if the answer to a commit was lost: then there is nothing to drop.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
		defer cancel()
		if drop := w.Meta.DropPack(last, key, w.holder); drop != nil {
			w.Log.Warn("the new pack of a compaction that came to nothing stays until its announcement ends", "object", key, "error", drop)
		}
	}
	if err != nil {
		return fmt.Errorf("rewrite packs: %w", err)
	}
	if moved > 0 {
		w.done.New++
	}
	for _, m := range moves {
		w.done.Bytes += m.Stored
	}
	w.done.Frames += moved
	w.frames.Add(float64(moved))
	w.Compactor.bytes.Add(float64(w.done.Bytes))
	for _, p := range w.emptied {
		w.done.Freed += p.Total
	}
	return nil
}

// put writes the frames into one object and tells where each lies. What the index has no room for is left out.
func (w *work) put(ctx context.Context, key string) ([]meta.Move, error) {
	r, out := io.Pipe()
	packed := make(chan []meta.Move)
	go func() {
		moves, err := w.pack(out)
		_ = out.CloseWithError(err) // never fails; nil is io.EOF
		packed <- moves
	}()
	err := w.Objects.Put(ctx, key, &paced{ctx: ctx, work: w, r: r}, object.SizeUnknown)
	_ = r.CloseWithError(io.ErrClosedPipe) // ends the packing if Put has not read to the end
	moves := <-packed
	if err != nil {
		return nil, fmt.Errorf("write new pack: %w", err)
	}
	return moves, nil
}

func (w *work) pack(out io.Writer) ([]meta.Move, error) {
	p := pack.NewWriter(out)
	moves := make([]meta.Move, 0, len(w.live))
	for _, f := range w.live {
		to, err := p.Copy(f.stored)
		if errors.Is(err, pack.ErrIndexFull) {
			break
		}
		if err != nil {
			return nil, err
		}
		moves = append(moves, meta.Move{Frame: f.Frame, To: to.Offset})
	}
	return moves, p.Close()
}

// paced is a reader that goes no faster than it may.
type paced struct {
	ctx  context.Context
	work *work
	r    io.Reader
}

func (p *paced) Read(b []byte) (int, error) {
	for p.work.credit <= 0 {
		if err := p.work.pace(p.ctx, step, p.work.urgent); err != nil {
			return 0, err
		}
		p.work.credit += step
	}
	n, err := p.r.Read(b[:min(len(b), step)])
	p.work.credit -= n
	return n, err
}
