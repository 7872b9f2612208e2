package rebuild

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/yubin-mail/yubin/pkg/message"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/pack"
)

// found is what a pack holds.
type found struct {
	key     string
	made    time.Time
	total   int64 // octets of frames
	bodies  []*meta.FoundBody
	damage  []error
	missing bool
}

// readPacks goes through all packs in order of time. Several are read at once; what is in them is adopted one after the other.
func (r *run) readPacks(ctx context.Context) error {
	seen, err := r.Meta.SeenPacks(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan chan *found, r.Parallel)
	readers, readCtx := errgroup.WithContext(ctx)
	readers.SetLimit(r.Parallel)
	g.Go(func() error {
		defer close(queue)
		for info, err := range r.Objects.List(readCtx, body.KeyPrefix, "") {
			if err != nil {
				return errors.Join(err, readers.Wait())
			}
			if seen[info.Key] {
				continue
			}
			result := make(chan *found, 1)
			select {
			case queue <- result:
			case <-readCtx.Done():
				return errors.Join(readers.Wait(), readCtx.Err())
			}
			readers.Go(func() error {
				defer close(result)
				f, err := r.readPack(readCtx, info.Key)
				if err == nil {
					result <- f
				}
				return err
			})
		}
		return readers.Wait()
	})
	g.Go(func() error {
		for result := range queue {
			f, ok := <-result
			if !ok {
				continue // its error is the group's
			}
			if err := r.adopt(ctx, f); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

func (r *run) adopt(ctx context.Context, f *found) error {
	for _, err := range f.damage {
		r.damaged(f.key, err)
	}
	if f.missing || len(f.bodies) == 0 {
		return nil
	}
	a, err := r.Meta.AdoptPack(ctx, f.key, f.made, f.total, f.bodies, r.gone)
	if err != nil {
		return err
	}
	r.report.Packs++
	r.report.Located += a.Located
	r.report.Delivered += a.Delivered
	r.report.Dead += a.Dead
	r.report.Refused = append(r.report.Refused, a.Refused...)
	r.Progress(StepPacks, r.report.Packs, 0)
	return nil
}

// readPack reads and parses all bodies of a pack. What is damaged is told, not an error.
func (r *run) readPack(ctx context.Context, key string) (*found, error) {
	f := &found{key: key}
	var err error
	if f.made, err = body.ObjectTime(key); err != nil {
		f.damage, f.missing = append(f.damage, err), true
		return f, nil
	}
	spool := r.Spools.New(0)
	defer func() { _ = spool.Close() }() // all of it was read
	if _, err := fetch(ctx, r.Objects, key, spool); err != nil {
		if errors.Is(err, object.ErrNotFound) {
			f.missing = true
			return f, nil
		}
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	list, damage := frames(spool, spool.Size())
	f.damage = append(f.damage, damage...)
	for _, frame := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b, err := r.readBody(spool, f, frame)
		if errors.Is(err, pack.ErrCorrupt) {
			f.damage = append(f.damage, err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		f.total += frame.Stored
		f.bodies = append(f.bodies, b)
	}
	return f, nil
}

func (r *run) readBody(in *body.Spool, f *found, frame pack.Frame) (*meta.FoundBody, error) {
	whose := &storagev1.Recovery{}
	if err := proto.Unmarshal(frame.Meta, whose); err != nil {
		return nil, fmt.Errorf("%w: meta of the frame at %d: %w", pack.ErrCorrupt, frame.Offset, err)
	}
	spool := r.Spools.New(0)
	defer func() { _ = spool.Close() }() // all of it was read
	if _, err := pack.WriteFrame(spool, in, frame); err != nil {
		return nil, err
	}
	structure, err := message.Parse(spool, spool.Size(), message.DefaultLimits())
	if err != nil {
		return nil, err
	}
	var header []byte
	if n := structure.GetRoot().GetHeaderSize(); n <= meta.MaxStoredHeader {
		header = make([]byte, n)
		if _, err := spool.Reader().ReadAt(header, 0); err != nil {
			return nil, err
		}
	}
	b := &meta.FoundBody{Named: whose.GetContentId() != "", Recipients: whose.GetRecipients(), Made: f.made}
	id := whose.GetContentId()
	if !b.Named {
		id = placeID(f.key, frame.Offset)
	}
	if delivery := whose.GetDeliveryId(); delivery != "" {
		b.Delivery = fmt.Sprintf("%s/%x", delivery, frame.Sum) // a delivery may bring several messages
	}
	if at, ok := contentTime(id); ok && b.Named {
		b.Made = at
	}
	if b.Content, err = meta.NewContent(id, structure, header); err != nil {
		return nil, err
	}
	b.Content.Location = body.Location{Object: f.key, Offset: frame.Offset, Stored: frame.Stored, Size: frame.Size, Sum: frame.Sum}
	return b, nil
}

// contentTime tells when a content id was made, if it is a UUIDv7.
func contentTime(id string) (time.Time, bool) {
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(u[:8]) >> 16)), true
}

// placeID is a content id for a body of a pack that tells none: the same at each try.
func placeID(key string, offset int64) string {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%s:%d", key, offset)))
	u := uuid.UUID(sum[:16])
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80 // RFC 9562 section 5.8
	return u.String()
}
