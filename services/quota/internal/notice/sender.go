package notice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

const (
	// staleAfter is the age at which a notice is dropped: it says nothing new any more, and storage remembers a delivery id for a day.
	staleAfter = 24 * time.Hour
	retryAfter = 15 * time.Second
	// sweepEvery finds notices that another process wrote and did not come to send.
	sweepEvery = time.Minute
	batch      = 100
)

// Options of a Sender.
type Options struct {
	From       string // address, or empty for the postmaster of each account's domain
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
	Ledger     *ledger.Ledger
	Directory  directoryv1.DirectoryServiceClient
	Storage    storagev1.StorageServiceClient
}

// Sender delivers the notices that the ledger holds: each until storage has it, under an id that makes storage keep it once.
type Sender struct {
	Options
	wake chan struct{}
	sent *prometheus.CounterVec
}

// NewSender makes a Sender; Options.Ledger may be set later, before Run.
func NewSender(opts Options) *Sender {
	return &Sender{Options: opts, wake: make(chan struct{}, 1), sent: telemetry.Register(opts.Registerer, prometheus.NewCounterVec(
		prometheus.CounterOpts{Name: "yubin_quota_notices_total", Help: "Warning mails by level in percent and outcome."}, []string{"level", "outcome"}))}
}

// Wake makes the sender look for notices now. It never blocks.
func (s *Sender) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends.
func (s *Sender) Run(ctx context.Context) error {
	for {
		wait := sweepEvery
		if err := s.Send(ctx); err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "quota warnings wait", "error", err)
			wait = retryAfter
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-time.After(wait):
		}
	}
}

// Send delivers all notices that the ledger holds. What fails stays for the next time and does not hinder the others.
func (s *Sender) Send(ctx context.Context) error {
	for {
		notices, err := s.Ledger.Notices(ctx, batch)
		if err != nil {
			return err
		}
		var failures []error
		for _, n := range notices {
			if err := s.send(ctx, n); err != nil {
				failures = append(failures, err)
			}
		}
		// With failures the next batch may be the same one.
		if len(failures) > 0 || len(notices) < batch {
			return errors.Join(failures...)
		}
	}
}

// send delivers one notice and forgets it. A crash between the two repeats the delivery, which storage recognises.
func (s *Sender) send(ctx context.Context, n ledger.Notice) error {
	err := s.deliver(ctx, n)
	outcome := "sent"
	switch {
	case err == nil:
	case fault.Is(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND):
		outcome = "no_account"
	case s.Now().Sub(n.Created) > staleAfter:
		outcome = "stale"
		s.Log.ErrorContext(ctx, "quota warning dropped", "level", n.Level, "error", err)
	default:
		if !rpc.Transient(err) {
			s.Log.ErrorContext(ctx, "quota warning failed", "level", n.Level, "error", err)
		}
		return err
	}
	first, err := s.Ledger.Delivered(ctx, n)
	if err != nil || !first { // another replica was at the same notice; storage has it once
		return err
	}
	s.sent.WithLabelValues(strconv.Itoa(n.Level), outcome).Inc()
	return nil
}

func (s *Sender) deliver(ctx context.Context, n ledger.Notice) error {
	got, err := s.Directory.GetAccount(ctx, &directoryv1.GetAccountRequest{Key: &directoryv1.GetAccountRequest_AccountId{AccountId: n.AccountID}})
	if err != nil {
		return fmt.Errorf("get account: %w", err)
	}
	message, err := Message(n, got.GetAccount(), s.From)
	if err != nil {
		return err
	}
	_, err = s.Storage.DeliverNotice(ctx, &storagev1.DeliverNoticeRequest{DeliveryId: n.ID(), AccountId: n.AccountID, Message: message})
	if err != nil {
		return fmt.Errorf("deliver notice: %w", err)
	}
	return nil
}
