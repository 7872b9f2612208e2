package catalog

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/pack"
)

const (
	// maxObject is the length from which on an object takes no more snapshots.
	maxObject = 32 << 20
	// maxSnapshots bounds those of one object, and with them its transaction.
	maxSnapshots = 2000
	// orphanAge is how old an object without a row must be before it goes.
	orphanAge = 24 * time.Hour
	// sparseAge lets an object grow old before what is left in it is copied out.
	sparseAge = 24 * time.Hour
	// objectsAtOnce bounds the objects that one round of housekeeping deletes.
	objectsAtOnce = 1000
)

// Deps of a Cataloguer.
type Deps struct {
	Meta       *meta.Store
	Objects    object.Store
	Spools     *body.Spools
	Registerer prometheus.Registerer // may be nil
	Now        func() time.Time
}

// Cataloguer writes the catalog. Of several replicas one should do it at a time.
type Cataloguer struct {
	Deps
	snapshots *prometheus.CounterVec
	bytes     prometheus.Counter
	complete  prometheus.Gauge
	rounds    prometheus.Counter
}

// New makes a Cataloguer.
func New(deps Deps) *Cataloguer {
	return &Cataloguer{
		Deps: deps,
		snapshots: telemetry.Register(deps.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_catalog_snapshots_total", Help: "Snapshots of accounts written to the catalog, by kind: whole, increment, purged.",
		}, []string{"kind"})),
		bytes: telemetry.Register(deps.Registerer, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yubin_storage_catalog_written_bytes_total", Help: "Octets of objects written to the catalog.",
		})),
		rounds: telemetry.Register(deps.Registerer, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yubin_storage_catalog_rounds_total", Help: "Times that this process went through all accounts for the catalog.",
		})),
		complete: telemetry.Register(deps.Registerer, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "yubin_storage_catalog_timestamp_seconds",
			Help: "When the last round of the catalog ended that this process has written: 0 if it has written none.",
		})),
	}
}

// Write takes snapshots of all accounts that have changed since their last, and tidies up. It bears that another replica does the same.
func (c *Cataloguer) Write(ctx context.Context) error {
	o := &objectWriter{Cataloguer: c}
	defer o.discard()
	for after, more := "", true; more; more = after != "" {
		stale, next, err := c.Meta.StaleAccounts(ctx, after)
		if err != nil {
			return fmt.Errorf("find changed accounts: %w", err)
		}
		after = next
		for _, account := range stale {
			if err := o.add(ctx, account); err != nil {
				return err
			}
		}
	}
	if err := o.finish(ctx); err != nil {
		return err
	}
	for {
		purged, err := c.Meta.StalePurges(ctx)
		if err != nil {
			return fmt.Errorf("find purged accounts: %w", err)
		}
		for _, account := range purged {
			if err := o.add(ctx, account); err != nil {
				return err
			}
		}
		if err := o.finish(ctx); err != nil || len(purged) == 0 {
			return errors.Join(err, c.tidy(ctx, o))
		}
	}
}

// errTwice ends a round in which another replica took snapshots of the same accounts: it goes on.
var errTwice = errors.New("another replica writes the catalog too")

// tidy copies what is kept out of mostly dead objects, and deletes objects that hold nothing any more.
func (c *Cataloguer) tidy(ctx context.Context, o *objectWriter) error {
	for {
		key, kept, err := c.Meta.SparseCatalogObject(ctx, c.Now().Add(-sparseAge))
		if err != nil {
			return fmt.Errorf("find sparse objects: %w", err)
		}
		if key == "" {
			break
		}
		if err := o.move(ctx, key, kept); err != nil {
			return fmt.Errorf("rewrite object of the catalog: %w", err)
		}
	}
	dead, err := c.Meta.DeadCatalogObjects(ctx, objectsAtOnce)
	if err != nil {
		return fmt.Errorf("find dead objects: %w", err)
	}
	for _, key := range dead {
		if err := c.Objects.Delete(ctx, key); err != nil {
			return fmt.Errorf("delete object of the catalog: %w", err)
		}
		if err := c.Meta.ForgetCatalogObject(ctx, key); err != nil {
			return fmt.Errorf("forget object of the catalog: %w", err)
		}
	}
	if err := c.sweep(ctx); err != nil {
		return err
	}
	c.complete.Set(float64(c.Now().Unix()))
	c.rounds.Inc()
	return nil
}

// sweep deletes objects that a crash left without a row. As with bodies, those older than the database are none of its business.
func (c *Cataloguer) sweep(ctx context.Context) error {
	begin, err := c.Meta.Created(ctx)
	if err != nil {
		return fmt.Errorf("find age of database: %w", err)
	}
	before := c.Now().Add(-orphanAge)
	for info, err := range c.Objects.List(ctx, KeyPrefix, "") {
		if err != nil {
			return fmt.Errorf("list the catalog: %w", err)
		}
		if info.Modified.After(before) || info.Modified.Before(begin) {
			continue
		}
		known, err := c.Meta.KnowsCatalogObject(ctx, info.Key)
		if err != nil {
			return fmt.Errorf("find object of the catalog: %w", err)
		}
		if known {
			continue
		}
		if err := c.Objects.Delete(ctx, info.Key); err != nil {
			return fmt.Errorf("delete orphan of the catalog: %w", err)
		}
	}
	return nil
}

// objectWriter gathers snapshots into objects.
type objectWriter struct {
	*Cataloguer
	spool   *body.Spool
	pack    *pack.Writer
	written []meta.Written
}

func (o *objectWriter) open() {
	if o.spool == nil {
		o.spool = o.Spools.New(0)
		o.pack = pack.NewWriter(o.spool)
	}
}

// add takes a snapshot of an account.
func (o *objectWriter) add(ctx context.Context, account string) error {
	records := o.Spools.New(0)
	defer func() { _ = records.Close() }() // all in it was read, or there was an error
	snapshot, err := o.Meta.TakeSnapshot(ctx, account, func(r *storagev1.CatalogRecord) error { return WriteRecord(records, r) })
	if err != nil {
		return fmt.Errorf("take snapshot: %w", err)
	}
	if snapshot == nil {
		return nil
	}
	entry, err := proto.Marshal(snapshot.Entry)
	if err != nil {
		return fmt.Errorf("describe snapshot: %w", err)
	}
	o.open()
	f, err := o.pack.Append(entry, records.Reader(), records.Size())
	if err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	o.written = append(o.written, meta.Written{Snapshot: snapshot, Stored: f.Stored})
	if o.pack.Size() >= maxObject || len(o.written) >= maxSnapshots {
		return o.finish(ctx)
	}
	return nil
}

// finish makes the object durable that was begun, and records what is in it.
func (o *objectWriter) finish(ctx context.Context) error {
	if len(o.written) == 0 {
		return nil
	}
	key, size, err := o.put(ctx)
	if err != nil {
		return err
	}
	recorded, err := o.Meta.RecordSnapshots(ctx, key, size, o.written)
	if err != nil {
		return fmt.Errorf("record snapshots: %w", err)
	}
	if recorded < len(o.written) {
		return errTwice
	}
	for _, w := range o.written {
		kind := "increment"
		switch {
		case w.Entry.GetPurged():
			kind = "purged"
		case w.Whole():
			kind = "whole"
		}
		o.snapshots.WithLabelValues(kind).Inc()
	}
	o.written = nil
	return nil
}

// put writes the object that was begun.
func (o *objectWriter) put(ctx context.Context) (key string, size int64, err error) {
	defer o.discard()
	if err := o.pack.Close(); err != nil {
		return "", 0, fmt.Errorf("write catalog: %w", err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", 0, fmt.Errorf("make key: %w", err)
	}
	key, size = KeyPrefix+o.Now().UTC().Format("20060102")+"/"+id.String(), o.spool.Size()
	if err := o.Objects.Put(ctx, key, o.spool.Reader(), size); err != nil {
		return "", 0, fmt.Errorf("write catalog: %w", err)
	}
	o.bytes.Add(float64(size))
	return key, size, nil
}

func (o *objectWriter) discard() {
	if o.spool != nil {
		_ = o.spool.Close() // what was in it was read, or is not wanted
		o.spool, o.pack = nil, nil
	}
}

// move copies the snapshots that are kept out of an object.
func (o *objectWriter) move(ctx context.Context, from string, kept map[string]bool) error {
	in, err := o.fetch(ctx, from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	p, err := pack.Open(in, in.Size())
	if err != nil {
		return err
	}
	o.open()
	var moved []meta.MovedSnapshot
	for _, f := range p.Frames() {
		entry, err := ParseEntry(f.Meta)
		if err != nil {
			return err
		}
		id := hex.EncodeToString(entry.GetSnapshotId())
		if !kept[id] {
			continue
		}
		records := o.Spools.New(0)
		if _, err = p.WriteFrame(records, f); err == nil {
			_, err = o.pack.Append(bytes.Clone(f.Meta), records.Reader(), records.Size())
		}
		if err := errors.Join(err, records.Close()); err != nil {
			return err
		}
		moved = append(moved, meta.MovedSnapshot{AccountID: entry.GetAccountId(), SnapshotID: id})
	}
	key, size, err := o.put(ctx)
	if err != nil {
		return err
	}
	return o.Meta.MoveSnapshots(ctx, from, key, size, moved)
}

// fetch copies an object into a spool.
func (o *objectWriter) fetch(ctx context.Context, key string) (*body.Spool, error) {
	r, err := o.Objects.GetRange(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // only read
	s := o.Spools.New(0)
	if _, err := io.Copy(s, r); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}
