package rebuild

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/catalog"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/pack"
)

// snapshots are what the catalog has, with copies of its objects in a folder.
type snapshots struct {
	dir       string
	byAccount map[string]map[string]*snapshot // by id, as octets
	objects   []*catalogObject
}

func (s *snapshots) close() error { return os.RemoveAll(s.dir) }

// catalogObject is a copy of an object.
type catalogObject struct {
	key, file string
	size      int64
	kept      map[string][]meta.KeptSnapshot
}

// snapshot is one frame.
type snapshot struct {
	*storagev1.CatalogEntry
	in    *catalogObject
	frame pack.Frame
}

// readCatalog finds all snapshots.
func (r *run) readCatalog(ctx context.Context) (*snapshots, error) {
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(r.Dir, "catalog-")
	if err != nil {
		return nil, err
	}
	s := &snapshots{dir: dir, byAccount: map[string]map[string]*snapshot{}}
	for info, err := range r.Objects.List(ctx, catalog.KeyPrefix, "") {
		if err == nil {
			err = r.readCatalogObject(ctx, s, info.Key)
		}
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		r.Progress(StepCatalog, len(s.objects), 0)
	}
	return s, nil
}

func (r *run) readCatalogObject(ctx context.Context, s *snapshots, key string) error {
	o := &catalogObject{key: key, file: filepath.Join(s.dir, strconv.Itoa(len(s.objects))), kept: map[string][]meta.KeptSnapshot{}}
	s.objects = append(s.objects, o)
	f, err := os.OpenFile(o.file, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // a copy: what cannot be read of it later is told then
	if o.size, err = fetch(ctx, r.Objects, key, f); err != nil {
		return err
	}
	frames, damage := frames(f, o.size)
	for _, err := range damage {
		r.damaged(key, err)
	}
	for _, frame := range frames {
		entry, err := catalog.ParseEntry(frame.Meta)
		if err != nil {
			r.damaged(key, err)
			continue
		}
		if s.byAccount[entry.GetAccountId()] == nil {
			s.byAccount[entry.GetAccountId()] = map[string]*snapshot{}
		}
		frame.Meta = nil
		s.byAccount[entry.GetAccountId()][string(entry.GetSnapshotId())] = &snapshot{entry, o, frame}
	}
	return nil
}

// fetch copies an object.
func fetch(ctx context.Context, objects object.Store, key string, w io.Writer) (int64, error) {
	in, err := objects.GetRange(ctx, key, 0, -1)
	if err != nil {
		return 0, err
	}
	defer func() { _ = in.Close() }() // only read
	return io.Copy(w, in)
}

// frames gives those of a pack by its index, or if that is damaged those that can be found, with what is wrong.
func frames(r io.ReaderAt, size int64) (found []pack.Frame, damage []error) {
	p, err := pack.Open(r, size)
	if err == nil {
		return p.Frames(), nil
	}
	damage = append(damage, err)
	for f, err := range pack.Scan(r, size) {
		if err != nil {
			damage = append(damage, err)
			continue
		}
		found = append(found, f)
	}
	return found, damage
}

// restoreAccounts puts back each account from its latest snapshot that can be read.
func (r *run) restoreAccounts(ctx context.Context, s *snapshots) error {
	done, err := r.Meta.CameBack(ctx)
	if err != nil {
		return err
	}
	for i, account := range slices.Sorted(maps.Keys(s.byAccount)) {
		if _, before := done[account]; !before {
			if err := r.restoreAccount(ctx, s, account); err != nil {
				return err
			}
		}
		r.Progress(StepAccounts, i+1, len(s.byAccount))
	}
	for _, o := range s.objects {
		if len(o.kept) == 0 {
			continue
		}
		if err := r.Meta.KeepSnapshots(ctx, o.key, o.size, o.kept); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) restoreAccount(ctx context.Context, s *snapshots, account string) error {
	all := s.byAccount[account]
	latest := slices.SortedFunc(maps.Values(all), func(a, b *snapshot) int {
		return cmp.Or(cmp.Compare(b.GetTakenUnixMs(), a.GetTakenUnixMs()), slices.Compare(a.GetSnapshotId(), b.GetSnapshotId()))
	})
	for _, last := range latest {
		if last.GetPurged() {
			r.report.Purged++
			return r.Meta.RestorePurged(ctx, last.CatalogEntry)
		}
		chain, err := chainTo(all, last)
		if err == nil {
			err = r.Meta.RestoreAccount(ctx, last.CatalogEntry, func(apply func(*storagev1.CatalogRecord) error) error { return replay(chain, apply) })
		}
		if errors.Is(err, catalog.ErrCorrupt) || errors.Is(err, pack.ErrCorrupt) {
			r.damaged(last.in.key, fmt.Errorf("snapshot of account %s: %w", account, err))
			continue
		}
		if err != nil {
			return err
		}
		for _, snap := range all {
			snap.in.kept[account] = append(snap.in.kept[account], meta.KeptSnapshot{ID: hex.EncodeToString(snap.GetSnapshotId()), Stored: snap.frame.Stored})
		}
		return nil
	}
	return nil // its messages come from the packs
}

// chainTo gives the whole snapshot that one goes back to, and the increments up to it.
func chainTo(all map[string]*snapshot, last *snapshot) ([]*snapshot, error) {
	chain := []*snapshot{last}
	for at := last; len(at.GetPreviousId()) > 0; {
		previous := all[string(at.GetPreviousId())]
		if previous == nil || previous.GetPurged() {
			return nil, fmt.Errorf("%w: the snapshot before is missing", catalog.ErrCorrupt)
		}
		if len(chain) > len(all) {
			return nil, fmt.Errorf("%w: snapshots go in a circle", catalog.ErrCorrupt)
		}
		chain = append(chain, previous)
		at = previous
	}
	slices.Reverse(chain)
	return chain, nil
}

// replay gives the records of a chain, in order.
func replay(chain []*snapshot, apply func(*storagev1.CatalogRecord) error) error {
	for _, s := range chain {
		if err := s.records(apply); err != nil {
			return err
		}
	}
	return nil
}

func (s *snapshot) records(apply func(*storagev1.CatalogRecord) error) error {
	f, err := os.Open(s.in.file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	r, w := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, err := pack.WriteFrame(w, f, s.frame)
		_ = w.CloseWithError(err) // never fails; nil is io.EOF
	}()
	err = catalog.ReadRecords(r, apply)
	_ = r.CloseWithError(io.ErrClosedPipe) // ends the writing if the reading has
	<-written
	return err
}
