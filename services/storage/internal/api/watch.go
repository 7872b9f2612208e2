package api

import (
	"context"
	"errors"
	"io"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/feed"
)

const (
	// maxWatched bounds the mailboxes of one watcher.
	maxWatched = 1 << 20
	// keysAtOnce bounds the mailboxes that one transaction looks up for a watcher.
	keysAtOnce = 500
	// changesAtOnce bounds the changes of one answer.
	changesAtOnce = 5000
)

// Watch implements storagev1.StorageServiceServer. Each subscription is answered by the mailbox's present modseq, so that nothing is
// missed between a sync and the subscription.
func (s *Service) Watch(stream grpc.BidiStreamingServer[storagev1.WatchRequest, storagev1.WatchResponse]) error {
	sub := s.Feed.Subscribe()
	defer sub.Close()
	ended := make(chan error, 1)
	go func() { ended <- s.subscribe(stream, sub) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-rpc.Stopping(stream.Context()):
			return fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "storage is leaving")
		case <-sub.Ready():
			if err := sendChanges(stream, sub); err != nil {
				return err
			}
		}
	}
}

// subscribe takes the watcher's requests until it closes its side.
func (s *Service) subscribe(stream grpc.BidiStreamingServer[storagev1.WatchRequest, storagev1.WatchResponse], sub *feed.Subscription) error {
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, k := range r.GetUnsubscribe() {
			sub.Remove(feed.Key{AccountID: k.GetAccountId(), MailboxID: k.GetMailboxId()})
		}
		for some := range slices.Chunk(r.GetSubscribe(), keysAtOnce) {
			if sub.Len()+len(some) > maxWatched {
				return fault.New(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT, "too many mailboxes are watched")
			}
			if err := s.present(stream.Context(), sub, some); err != nil {
				return err
			}
		}
	}
}

// present adds mailboxes to a subscription, and gives it the state that they have now.
func (s *Service) present(ctx context.Context, sub *feed.Subscription, some []*storagev1.WatchRequest_Key) error {
	keys := make([]feed.Key, len(some))
	for i, k := range some {
		keys[i] = feed.Key{AccountID: k.GetAccountId(), MailboxID: k.GetMailboxId()}
		sub.Add(keys[i])
	}
	changes, err := s.Meta.Highest(ctx, keys)
	if err != nil {
		return err
	}
	sub.Notice(changes...)
	return nil
}

func sendChanges(stream grpc.ServerStreamingServer[storagev1.WatchResponse], sub *feed.Subscription) error {
	changes, resync := sub.Take()
	for len(changes) > 0 || resync {
		n := min(len(changes), changesAtOnce)
		response := &storagev1.WatchResponse{Resync: resync}
		for _, c := range changes[:n] {
			response.Changes = append(response.Changes, &storagev1.WatchResponse_Change{
				AccountId: c.AccountID, MailboxId: c.MailboxID, Modseq: c.Modseq, Deleted: c.Deleted,
			})
		}
		if err := stream.Send(response); err != nil {
			return err
		}
		changes, resync = changes[n:], false
	}
	return nil
}
