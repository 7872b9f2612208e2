package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/job"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/pack"
)

// window is how much of an object is read at one go, in octets.
const window = 4 << 20

// ScrubOptions of a scrub.
type ScrubOptions struct {
	// Rate bounds the octets read a second; 0: no limit.
	Rate int64
	// Restart begins anew; otherwise a scrub that was cut off goes on.
	Restart bool
}

// Scrub reads every body that messages refer to, and every index, and verifies them against their checksums. It goes on where the last
// one was cut off. Errors: job.ErrHeld if one is running.
func (a *Auditor) Scrub(ctx context.Context, o ScrubOptions, report Report) (Summary, error) {
	r := &run{Auditor: a, report: report}
	s := &scrub{run: r, limit: rate.NewLimiter(rate.Inf, window)}
	if o.Rate > 0 {
		s.limit.SetLimit(rate.Limit(o.Rate))
	}
	err := a.Jobs.Once(ctx, job.Job{Name: "scrub", Every: time.Second, Run: func(ctx context.Context, round *job.Round) error {
		if o.Restart {
			round.Reach("")
		}
		return s.do(ctx, round)
	}}, true)
	return r.summary, err
}

type scrub struct {
	*run
	limit *rate.Limiter
}

func (s *scrub) do(ctx context.Context, round *job.Round) error {
	var err error
	if s.done.Total, s.done.TotalBytes, _, err = s.Meta.PackTotals(ctx, round.Position()); err != nil {
		return fmt.Errorf("count packs: %w", err)
	}
	for {
		page, err := s.Meta.CheckPacks(ctx, round.Position(), packsAtOnce)
		if err != nil {
			return fmt.Errorf("read packs: %w", err)
		}
		for _, p := range page {
			if err := s.pack(ctx, p); err != nil {
				return err
			}
			round.Reach(p.Object)
			s.done.Done++
			s.done.DoneBytes += p.Total
			if err := s.progress(); err != nil {
				return err
			}
		}
		if len(page) < packsAtOnce {
			round.Reach("")
			return nil
		}
	}
}

// pack reads the frames of a pack that are alive.
func (s *scrub) pack(ctx context.Context, p meta.PackCheck) error {
	s.summary.Packs++
	s.summary.FrameBytes += p.Total
	s.summary.LiveBytes += p.Live
	frames, err := s.Meta.Frames(ctx, p.Object)
	if err != nil || len(frames) == 0 {
		return err
	}
	size, ok, err := s.stat(ctx, p.Object)
	if err != nil {
		return fmt.Errorf("look at object: %w", err)
	}
	if ok {
		s.summary.Objects++
		s.summary.ObjectBytes += size
	}
	in := &windowReader{ctx: ctx, scrub: s, key: p.Object}
	for _, f := range frames {
		s.summary.Contents += f.Refs
		s.summary.Frames++
		err := fmt.Errorf("%w: the object is not there", pack.ErrCorrupt)
		if ok {
			err = pack.Verify(in, pack.Frame{Offset: f.Offset, Stored: f.Stored, Size: f.Size, Sum: f.Sum})
		}
		if err := s.judge(ctx, f, err); err != nil {
			return err
		}
	}
	if !ok {
		return nil
	}
	if _, err = pack.Open(in, size); err == nil {
		return nil
	}
	return s.damaged(ctx, Finding{Kind: DamagedIndex, Object: p.Object, Octets: size, Detail: err.Error()}, frames[0], err)
}

// judge reports a frame that cannot be read.
func (s *scrub) judge(ctx context.Context, f meta.Frame, err error) error {
	if err == nil {
		return nil
	}
	return s.damaged(ctx, Finding{
		Kind: DamagedBody, Object: f.Object, AccountID: f.AccountID, ContentID: f.ContentID, Contents: f.Refs, Octets: f.Stored,
		Detail: fmt.Sprintf("frame at %d: %v", f.Offset, err),
	}, f, err)
}

// damaged reports damage, unless nothing refers to the frame any more. Other errors, which may pass, end the scrub.
func (s *scrub) damaged(ctx context.Context, found Finding, f meta.Frame, err error) error {
	if !errors.Is(err, pack.ErrCorrupt) && !errors.Is(err, object.ErrNotFound) {
		return fmt.Errorf("read pack: %w", err)
	}
	now, lookup := s.Meta.Frames(ctx, f.Object)
	if lookup != nil {
		return fmt.Errorf("find frames of pack: %w", lookup)
	}
	if !slices.ContainsFunc(now, func(n meta.Frame) bool { return n.Offset == f.Offset }) {
		return nil
	}
	found.Made, _ = body.ObjectTime(found.Object)
	return s.find(found)
}

// windowReader reads an object in large pieces, no faster than it may.
type windowReader struct {
	ctx   context.Context
	scrub *scrub
	key   string
	start int64
	held  []byte
	buf   bytes.Buffer
}

// ReadAt implements io.ReaderAt.
func (w *windowReader) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at < w.start || at >= w.start+int64(len(w.held)) {
			if err := w.load(at); err != nil {
				return n, err
			}
			if len(w.held) == 0 {
				return n, io.EOF
			}
		}
		n += copy(p[n:], w.held[at-w.start:])
	}
	return n, nil
}

func (w *windowReader) load(at int64) error {
	w.held = nil
	in, err := w.scrub.Objects.GetRange(w.ctx, w.key, at, window)
	if err != nil {
		return err
	}
	w.buf.Reset()
	if _, err := w.buf.ReadFrom(in); err != nil {
		return errors.Join(err, in.Close())
	}
	w.start, w.held = at, w.buf.Bytes()
	if err := in.Close(); err != nil {
		return err
	}
	return w.scrub.limit.WaitN(w.ctx, len(w.held))
}
