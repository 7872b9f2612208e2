package api

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/audit"
	"github.com/yubin-mail/yubin/services/storage/internal/compact"
	"github.com/yubin-mail/yubin/services/storage/internal/job"
)

// errScrubbing is the fault of a second scrub.
var errScrubbing = fault.New(codes.Aborted, rpcv1.Reason_REASON_UNAVAILABLE, "a scrub is running already")

// runFault gives the failure of a run its reason.
func runFault(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, job.ErrHeld):
		return errScrubbing
	case ctx.Err() != nil:
		return ctx.Err()
	case fault.Reason(err) != rpcv1.Reason_REASON_UNSPECIFIED:
		return err
	}
	return fault.Wrap(err, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "the stores cannot be read through now, try again later: "+err.Error())
}

// VerifyStorage implements storagev1.StorageAdminServiceServer.
func (a *admin) VerifyStorage(r *storagev1.VerifyStorageRequest, stream grpc.ServerStreamingServer[storagev1.VerifyStorageResponse]) error {
	ctx := stream.Context()
	report := audit.Report{
		Finding: func(f audit.Finding) error {
			return stream.Send(&storagev1.VerifyStorageResponse{Findings: []*storagev1.StorageFinding{finding(f)}})
		},
		Progress: func(p audit.Progress) error {
			return stream.Send(&storagev1.VerifyStorageResponse{Progress: progress(p)})
		},
	}
	var summary audit.Summary
	var err error
	if id := r.GetAccountId(); id == "" {
		summary, err = a.s.Auditor.Verify(ctx, report)
	} else if err = checkAccount(id); err == nil {
		summary, err = a.s.Auditor.VerifyAccount(ctx, id, report)
	}
	if err != nil {
		return runFault(ctx, err)
	}
	return stream.Send(&storagev1.VerifyStorageResponse{Summary: summaryOf(summary)})
}

// ScrubStorage implements storagev1.StorageAdminServiceServer.
func (a *admin) ScrubStorage(r *storagev1.ScrubStorageRequest, stream grpc.ServerStreamingServer[storagev1.ScrubStorageResponse]) error {
	ctx := stream.Context()
	if r.GetBytesPerSecond() < 0 {
		return invalid("the rate is negative")
	}
	summary, err := a.s.Auditor.Scrub(ctx, audit.ScrubOptions{Rate: r.GetBytesPerSecond(), Restart: r.GetRestart()}, audit.Report{
		Finding: func(f audit.Finding) error {
			return stream.Send(&storagev1.ScrubStorageResponse{Findings: []*storagev1.StorageFinding{finding(f)}})
		},
		Progress: func(p audit.Progress) error {
			return stream.Send(&storagev1.ScrubStorageResponse{Progress: progress(p)})
		},
	})
	if err != nil {
		return runFault(ctx, err)
	}
	return stream.Send(&storagev1.ScrubStorageResponse{Summary: summaryOf(summary)})
}

// CompactStorage implements storagev1.StorageAdminServiceServer.
func (a *admin) CompactStorage(r *storagev1.CompactStorageRequest, stream grpc.ServerStreamingServer[storagev1.CompactStorageResponse]) error {
	ctx := stream.Context()
	reclaim := func() error { return nil }
	if r.GetNow() {
		reclaim = func() error { return a.s.Reclaimer.DeleteNow(ctx) }
	}
	err := reclaim()
	var done compact.Totals
	if err == nil {
		done, err = a.s.Compactor.Pass(ctx, compact.Options{Now: r.GetNow()}, func(t compact.Totals) error {
			if err := reclaim(); err != nil {
				return err
			}
			return stream.Send(compacted(t))
		})
	}
	if err != nil {
		return runFault(ctx, err)
	}
	last := compacted(done)
	last.Finished = true
	if last.TotalBytes, last.LiveBytes, last.Objects, err = a.s.Meta.ObjectBytes(ctx); err != nil {
		return err
	}
	return stream.Send(last)
}

func compacted(t compact.Totals) *storagev1.CompactStorageResponse {
	return &storagev1.CompactStorageResponse{
		Packs: int64(t.Packs), NewPacks: int64(t.New), Frames: int64(t.Frames), CopiedBytes: t.Bytes, FreedBytes: t.Freed, Damaged: int64(t.Damaged),
	}
}

var findingKinds = map[audit.Kind]storagev1.StorageFinding_Kind{
	audit.MissingObject: storagev1.StorageFinding_KIND_MISSING_OBJECT,
	audit.ShortObject:   storagev1.StorageFinding_KIND_SHORT_OBJECT,
	audit.UnknownPack:   storagev1.StorageFinding_KIND_UNKNOWN_PACK,
	audit.WrongCounters: storagev1.StorageFinding_KIND_WRONG_COUNTERS,
	audit.DamagedBody:   storagev1.StorageFinding_KIND_DAMAGED_BODY,
	audit.DamagedIndex:  storagev1.StorageFinding_KIND_DAMAGED_INDEX,
	audit.Orphan:        storagev1.StorageFinding_KIND_ORPHAN,
	audit.Foreign:       storagev1.StorageFinding_KIND_FOREIGN,
}

func finding(f audit.Finding) *storagev1.StorageFinding {
	out := &storagev1.StorageFinding{
		Kind: findingKinds[f.Kind], Trouble: f.Kind.Trouble(), ObjectKey: f.Object, AccountId: f.AccountID, EmailId: f.ContentID,
		Contents: f.Contents, Octets: f.Octets, Detail: f.Detail,
	}
	if !f.Made.IsZero() {
		out.MadeUnix = f.Made.Unix()
	}
	return out
}

func progress(p audit.Progress) *storagev1.StorageProgress {
	return &storagev1.StorageProgress{Done: p.Done, Total: p.Total, DoneBytes: p.DoneBytes, TotalBytes: p.TotalBytes}
}

func summaryOf(s audit.Summary) *storagev1.StorageSummary {
	return &storagev1.StorageSummary{
		Packs: s.Packs, Contents: s.Contents, FrameBytes: s.FrameBytes, LiveBytes: s.LiveBytes, Objects: s.Objects, ObjectBytes: s.ObjectBytes,
		Waiting: s.Waiting, WaitingBytes: s.WaitingBytes, Orphans: s.Orphans, OrphanBytes: s.OrphanBytes, Foreign: s.Foreign,
		Frames: s.Frames, Troubles: s.Troubles,
	}
}
