// Package api answers the calls of StorageService and StorageAdminService.
package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/audit"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/capacity"
	"github.com/yubin-mail/yubin/services/storage/internal/compact"
	"github.com/yubin-mail/yubin/services/storage/internal/delivery"
	"github.com/yubin-mail/yubin/services/storage/internal/feed"
	"github.com/yubin-mail/yubin/services/storage/internal/indexer"
	"github.com/yubin-mail/yubin/services/storage/internal/maildrop"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/reclaim"
	"github.com/yubin-mail/yubin/services/storage/internal/space"
)

// Deps of the services.
type Deps struct {
	Meta          *meta.Store
	Bodies        *body.Store
	Writer        *delivery.Writer
	Capacity      *capacity.Reserver
	Space         *space.Guard
	Feed          feed.Bus
	Leases        *maildrop.Keeper
	Auditor       *audit.Auditor
	Compactor     *compact.Compactor
	Reclaimer     *reclaim.Reclaimer
	Log           *slog.Logger
	Registerer    prometheus.Registerer // may be nil
	MaxRecipients int
	// Index of texts; nil: there is none.
	Index *indexer.Indexer
	// SearchBytes and SearchTime bound what a search reads of bodies, in octets, and how long it takes; 0: nothing does.
	SearchBytes int64
	SearchTime  time.Duration
}

const (
	// maxAccountID bounds an account id, maxID a delivery id or an append id.
	maxAccountID = 255
	maxID        = 64
	// maxChunk is the largest chunk of a stream that is taken, chunkSize what is sent.
	maxChunk  = 1 << 20
	chunkSize = 256 << 10
	// statesAtOnce bounds the states of one answer of Sync.
	statesAtOnce = 2000
	// statesInMemory bounds the states that all calls of Sync hold together.
	statesInMemory = 4 << 20
)

// Service implements both services.
type Service struct {
	storagev1.UnimplementedStorageServiceServer
	Deps
	states     *semaphore.Weighted
	search     *semaphore.Weighted
	bodyErrors *prometheus.CounterVec
	searches   searchMetrics
}

// New makes a Service.
func New(deps Deps) *Service {
	return &Service{
		Deps: deps, states: semaphore.NewWeighted(statesInMemory), search: semaphore.NewWeighted(searchesAtOnce),
		bodyErrors: newBodyErrors(deps.Registerer), searches: newSearchMetrics(deps.Registerer),
	}
}

// Register adds both services to a server.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	storagev1.RegisterStorageServiceServer(r, s)
	storagev1.RegisterStorageAdminServiceServer(r, &admin{s: s})
}

// OpenBody reads the body of a message of an account, wherever it is by then. Its errors are those of a read.
func (s *Service) OpenBody(ctx context.Context, account string, m *meta.Message) io.ReaderAt {
	return s.body(ctx, account, m)
}

func invalid(format string, args ...any) error {
	return fault.Newf(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, format, args...)
}

func checkAccount(id string) error {
	if id == "" || len(id) > maxAccountID {
		return invalid("the account id is empty or too long")
	}
	return nil
}

// withReservation reserves what size tells and runs write with it. It tries again if there was more to write by then.
func (s *Service) withReservation(
	ctx context.Context, account string, exempt bool,
	size func(context.Context) (bytes, messages int64, err error),
	write func(context.Context, meta.Reserved) error,
) error {
	const tries = 3
	ctx, cancel := context.WithTimeout(ctx, capacity.HoldTime)
	defer cancel()
	for try := 1; ; try++ {
		err := s.reserveAndWrite(ctx, account, exempt, size, write)
		if !errors.Is(err, meta.ErrReservationShort) || try == tries {
			return err
		}
	}
}

func (s *Service) reserveAndWrite(
	ctx context.Context, account string, exempt bool,
	size func(context.Context) (bytes, messages int64, err error),
	write func(context.Context, meta.Reserved) error,
) error {
	bytes, messages, err := size(ctx)
	if err != nil || messages == 0 {
		return err
	}
	if err := s.Space.Admit(messages * delivery.RowWeight); err != nil {
		return err
	}
	reserved := meta.Reserved{ID: capacity.NewID(), Bytes: bytes, Messages: messages}
	if err := s.Capacity.ReserveOne(ctx, account, reserved.ID, bytes, messages, exempt); err != nil {
		return err
	}
	if err := write(ctx, reserved); err != nil {
		s.Capacity.Release(reserved.ID)
		return err
	}
	return nil
}
