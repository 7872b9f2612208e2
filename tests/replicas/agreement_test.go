package replicas

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/tests/harness"
)

// each gives a client of each replica of storage, in the name of the SMTP gateway.
func each(t *testing.T, s *harness.System) (clients []storagev1.StorageServiceClient) {
	t.Helper()
	tls, err := tlsconf.MutualClient(s.Identity(t, "smtp"), "storage", tlsconf.Options{Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	for addr := range strings.SplitSeq(s.RPC["storage"], ",") {
		conn, err := rpc.Dial(addr, rpc.DialOptions{TLS: tls})
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		clients = append(clients, storagev1.NewStorageServiceClient(conn))
	}
	return clients
}

func deliver(ctx context.Context, c storagev1.StorageServiceClient, id string, message []byte, accounts ...string) (*storagev1.DeliverResponse, error) {
	stream, err := c.Deliver(ctx)
	if err != nil {
		return nil, err
	}
	header := &storagev1.DeliverRequest_Header{DeliveryId: id}
	for _, account := range accounts {
		header.Recipients = append(header.Recipients, &storagev1.DeliverRequest_Recipient{AccountId: account})
	}
	for _, r := range []*storagev1.DeliverRequest{
		{Message: &storagev1.DeliverRequest_Header_{Header: header}},
		{Message: &storagev1.DeliverRequest_Chunk{Chunk: message}},
		{Message: &storagev1.DeliverRequest_Commit{Commit: &storagev1.Commit{Size: uint64(len(message))}}},
	} {
		if err := stream.Send(r); err != nil {
			break // the answer tells why
		}
	}
	return stream.CloseAndRecv()
}

func TestOneDeliveryAtTwoReplicasAtOnceIsStoredOnce(t *testing.T) {
	s := start(t, harness.Options{}, "alice", "bob")
	accounts := []string{s.AccountID(t, "alice"), s.AccountID(t, "bob")}
	storage := each(t, s)
	message := harness.Compose("Hello", "x")
	const rounds = 50
	for round := range rounds {
		id := fmt.Sprint("delivery-", round)
		answers := make([]*storagev1.DeliverResponse, 4)
		var group errgroup.Group
		for i := range answers {
			group.Go(func() (err error) {
				answers[i], err = deliver(t.Context(), storage[i%2], id, message, accounts...)
				return err
			})
		}
		require.NoError(t, group.Wait())
		for _, answer := range answers {
			for i, r := range answer.GetResults() {
				require.Equal(t, storagev1.DeliveryStatus_DELIVERY_STATUS_STORED, r.GetStatus())
				require.Equal(t, answers[0].GetResults()[i].GetUid(), r.GetUid(), "all were told the same")
			}
		}
	}
	for _, name := range []string{"alice", "bob"} {
		require.Equal(t, rounds, count(t, s, 0, name))
		require.Eventually(t, func() bool {
			u := s.Usage(t, name)
			return u.UsedMessages == rounds && u.ReservedMessages == 0
		}, patience, tick, "usage settles")
	}
	s.NoDrift(t)
}

func TestALimitHoldsAtAllReplicas(t *testing.T) {
	s := start(t, harness.Options{}, "alice")
	message := harness.Compose("Hello", strings.Repeat("0123456789abcdef\n", 600)) // 10 kB
	send := func(n int) int {
		code, _ := harness.SMTPCode(s.Via(n%2).Send("sender@elsewhere.example", []string{harness.Address("alice")}, message))
		return code
	}
	for round := range 3 {
		used := s.Usage(t, "alice").UsedBytes
		s.CLI(t, "quota", "set", harness.Address("alice"), fmt.Sprint(used+5000))
		for n := range 8 { // whichever replicas of the gateway, of storage and of quota it meets
			require.Equal(t, 552, send(n), "round %d: the mailbox is full", round)
		}
		s.CLI(t, "quota", "set", harness.Address("alice"), "1GB")
		for n := range 8 {
			require.Zero(t, send(n), "round %d: there is room again", round)
		}
		require.Eventually(t, func() bool { return s.Usage(t, "alice").ReservedBytes == 0 }, patience, tick, "usage settles")
	}
	// Many at once, through all replicas, do not pass the limit either.
	before := s.Usage(t, "alice")
	require.Zero(t, send(0))
	var used harness.Usage
	require.Eventually(t, func() bool {
		used = s.Usage(t, "alice")
		return used.ReservedBytes == 0 && used.UsedMessages == before.UsedMessages+1
	}, patience, tick, "usage settles")
	// The rest is for the warnings that the mailbox gets full: they are small, and counted.
	size := used.UsedBytes - before.UsedBytes
	s.CLI(t, "quota", "set", harness.Address("alice"), fmt.Sprint(used.UsedBytes+10*size+size/2))
	accepted := make(chan int, 100)
	var group errgroup.Group
	for n := range 40 {
		group.Go(func() error {
			if code := send(n); code == 0 {
				accepted <- n
			} else if code != 552 {
				return fmt.Errorf("answered %d", code)
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	require.Len(t, accepted, 10)
	s.NoDrift(t)
}
