package api

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// errGone is the fault of a message that was expunged.
var errGone = fault.New(codes.NotFound, rpcv1.Reason_REASON_NOT_FOUND, "the message is gone")

func newBodyErrors(reg prometheus.Registerer) *prometheus.CounterVec {
	return telemetry.Zero(telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "yubin_storage_body_errors_total",
		Help: "Reads of bodies that failed, by reason: missing, corrupt, or unavailable, which may pass.",
	}, []string{"reason"})), "missing", "corrupt", "unavailable")
}

// maxMoves is how often a read follows a body to another place.
const maxMoves = 5

// storedBody reads the body of a message. It finds it again if a compaction moves it meanwhile.
type storedBody struct {
	service  *Service
	ctx      context.Context // of ReadAt
	account  string
	content  string
	location body.Location
}

func (s *Service) body(ctx context.Context, account string, m *meta.Message) *storedBody {
	return &storedBody{service: s, ctx: ctx, account: account, content: m.EmailID, location: m.Location}
}

// WriteRange writes n octets from offset off, verified, and tells how many it wrote. A range is cut at the body's end. Errors: NOT_FOUND if
// the message is gone, CORRUPT, UNAVAILABLE, that of w as it is.
func (b *storedBody) WriteRange(ctx context.Context, w io.Writer, off, n int64) (written int64, err error) {
	out := &errorWriter{Writer: w}
	for move := 0; ; move++ {
		var stored *body.Body
		var some int64
		if stored, err = b.service.Bodies.Open(ctx, b.location); err == nil {
			some, err = stored.WriteRange(ctx, out, off+written, max(n-written, 0))
			written += some
		}
		switch {
		case err == nil:
			return written, nil
		case out.err != nil:
			return written, out.err
		case ctx.Err() != nil:
			return written, ctx.Err()
		case !errors.Is(err, object.ErrNotFound) || move == maxMoves:
			return written, b.fault(ctx, err)
		}
		now, ok, lookup := b.service.Meta.Location(ctx, b.account, b.content)
		switch {
		case lookup != nil:
			return written, lookup
		case !ok:
			return written, errGone
		case now.Location == b.location:
			return written, b.fault(ctx, err)
		}
		b.location = now.Location
	}
}

// ReadAt implements io.ReaderAt; its errors are those of WriteRange.
func (b *storedBody) ReadAt(p []byte, off int64) (int, error) {
	return body.ReadRange(p, func(w io.Writer) error {
		_, err := b.WriteRange(b.ctx, w, off, int64(len(p)))
		return err
	})
}

// fault gives the failure to read a body its reason.
func (b *storedBody) fault(ctx context.Context, err error) error {
	reason := "unavailable"
	switch {
	case errors.Is(err, object.ErrNotFound):
		reason = "missing"
	case errors.Is(err, body.ErrCorrupt):
		reason = "corrupt"
	}
	b.service.bodyErrors.WithLabelValues(reason).Inc()
	if reason != "unavailable" {
		b.service.Log.ErrorContext(ctx, "a stored body cannot be read", "reason", reason, "account", b.account, "email_id", b.content, "error", err)
	}
	err = fmt.Errorf("read body: %w", err)
	if errors.Is(err, body.ErrCorrupt) {
		return fault.Wrap(err, codes.DataLoss, rpcv1.Reason_REASON_CORRUPT, "the stored message is damaged")
	}
	return fault.Wrap(err, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "the message cannot be read now, try again later")
}

// errorWriter keeps the error of its Writer.
type errorWriter struct {
	io.Writer
	err error
}

func (w *errorWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		w.err = err
	}
	return n, err
}
