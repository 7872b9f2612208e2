package crashtest

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// killer ends the process, as kill -9 does, at a call of what it wraps. Each call is two: before and after.
type killer struct {
	at    int64         // 0: never
	ahead time.Duration // of the clock
	calls atomic.Int64
	pair  atomic.Pointer[pair]
}

// pair holds up the writes of two objects until both have begun.
type pair struct {
	begun chan struct{} // receives one for each
	both  chan struct{} // closed
}

func (k *killer) meet() {
	if p := k.pair.Load(); p != nil {
		p.begun <- struct{}{}
		<-p.both
	}
}

func (k *killer) step() {
	if k.calls.Add(1) == k.at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}

// around runs fn between two steps.
func around[R any](k *killer, fn func() (R, error)) (R, error) {
	k.step()
	r, err := fn()
	k.step()
	return r, err
}

// objects is an object store with steps at each write.
type objects struct {
	object.Store
	killer *killer
}

func (o *objects) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	_, err := around(o.killer, func() (any, error) {
		o.killer.meet()
		return nil, o.Store.Put(ctx, key, r, size)
	})
	return err
}

func (o *objects) Delete(ctx context.Context, key string) error {
	_, err := around(o.killer, func() (any, error) { return nil, o.Store.Delete(ctx, key) })
	return err
}

func (o *objects) List(ctx context.Context, prefix, after string) iter.Seq2[object.Info, error] {
	return o.Store.List(ctx, prefix, after)
}

// quota is a client of quota with steps at each call.
type quota struct {
	quotav1.QuotaServiceClient
	killer *killer
}

func (q *quota) Reserve(ctx context.Context, r *quotav1.ReserveRequest, _ ...grpc.CallOption) (*quotav1.ReserveResponse, error) {
	return around(q.killer, func() (*quotav1.ReserveResponse, error) { return q.QuotaServiceClient.Reserve(ctx, r) })
}

func (q *quota) Release(ctx context.Context, r *quotav1.ReleaseRequest, _ ...grpc.CallOption) (*quotav1.ReleaseResponse, error) {
	return around(q.killer, func() (*quotav1.ReleaseResponse, error) { return q.QuotaServiceClient.Release(ctx, r) })
}

func (q *quota) Settle(ctx context.Context, r *quotav1.SettleRequest, _ ...grpc.CallOption) (*quotav1.SettleResponse, error) {
	return around(q.killer, func() (*quotav1.SettleResponse, error) { return q.QuotaServiceClient.Settle(ctx, r) })
}

// now is a clock that the store asks inside of every transaction: a step between BEGIN and the first statement.
func (k *killer) now() time.Time {
	k.step()
	return time.Now().Add(k.ahead)
}

// job is one delivery of the work that is interrupted.
type job struct {
	id       string
	accounts []string
	message  string
}

// jobs are small and large messages, to one and to several.
func jobs() []job {
	mail := func(subject, text string) string {
		return "Subject: " + subject + "\r\nMessage-ID: <" + subject + "@x>\r\n\r\n" + text + "\r\n"
	}
	return []job{
		{"one", []string{"bob"}, mail("one", "small")},
		{"two", []string{"bob", "carol"}, mail("two", "to both")},
		{"three", []string{"carol"}, mail("three", strings.Repeat("large ", 250_000))},
		{"four", []string{"bob"}, mail("four", "at the same time")},
		{"five", []string{"carol", "bob"}, mail("five", "as this one")},
		{"six", []string{"bob", "carol"}, mail("six", "in a group that is not done")},
		{"seven", []string{"carol"}, mail("seven", "when the group of this one begins")},
	}
}

// deliver stores a job's message.
func deliver(ctx context.Context, client storagev1.StorageServiceClient, j job) error {
	stream, err := client.Deliver(ctx)
	if err != nil {
		return err
	}
	header := &storagev1.DeliverRequest_Header{DeliveryId: j.id}
	for _, account := range j.accounts {
		header.Recipients = append(header.Recipients, &storagev1.DeliverRequest_Recipient{AccountId: account, Prefix: []byte("Delivered-To: " + account + "\r\n")})
	}
	requests := []*storagev1.DeliverRequest{{Message: &storagev1.DeliverRequest_Header_{Header: header}}}
	for rest := []byte(j.message); len(rest) > 0; {
		n := min(len(rest), 256<<10)
		requests = append(requests, &storagev1.DeliverRequest{Message: &storagev1.DeliverRequest_Chunk{Chunk: rest[:n]}})
		rest = rest[n:]
	}
	requests = append(requests, &storagev1.DeliverRequest{Message: &storagev1.DeliverRequest_Commit{Commit: &storagev1.Commit{Size: uint64(len(j.message))}}})
	for _, r := range requests {
		if err := stream.Send(r); err != nil {
			break // the answer says why
		}
	}
	response, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	for _, r := range response.GetResults() {
		if r.GetStatus() != storagev1.DeliveryStatus_DELIVERY_STATUS_STORED {
			return fmt.Errorf("delivery %s to %s: %v", j.id, r.GetAccountId(), r.GetStatus())
		}
	}
	return nil
}

// work does all jobs and tells on stdout which were acknowledged: the first three one after the other, the last two in groups that overlap if k is
// given, the rest together, and then the expunge of a message.
func work(ctx context.Context, client storagev1.StorageServiceClient, k *killer) error {
	list := jobs()
	for _, j := range list[:3] {
		if err := deliver(ctx, client, j); err != nil {
			return err
		}
		fmt.Println(j.id)
	}
	var out sync.Mutex
	errs := make(chan error, len(list))
	begin := func(j job) {
		go func() {
			err := deliver(ctx, client, j)
			if err == nil {
				out.Lock()
				defer out.Unlock()
				fmt.Println(j.id)
			}
			errs <- err
		}()
	}
	const both = 2
	if k == nil {
		begin(list[5])
		begin(list[6])
	} else {
		p := &pair{begun: make(chan struct{}, 2), both: make(chan struct{})}
		k.pair.Store(p)
		for _, j := range list[5:] {
			begin(j)
			select {
			case <-p.begun:
			case err := <-errs:
				return fmt.Errorf("delivery %s ended before it began: %w", j.id, err)
			}
		}
		k.pair.Store(nil)
		close(p.both)
	}
	for range both {
		if err := <-errs; err != nil {
			return err
		}
	}
	begin(list[3])
	begin(list[4])
	for range both {
		if err := <-errs; err != nil {
			return err
		}
	}
	if err := expunge(ctx, client); err != nil {
		return err
	}
	fmt.Println(expunged)
	return nil
}

// expunged is the acknowledgement of the expunge.
const expunged = "expunged"

// expunge removes carol's first message.
func expunge(ctx context.Context, client storagev1.StorageServiceClient) error {
	inbox, err := client.GetMailbox(ctx, &storagev1.GetMailboxRequest{AccountId: "carol", Key: &storagev1.GetMailboxRequest_Name{Name: "INBOX"}})
	if err != nil {
		return err
	}
	id, first := inbox.GetMailbox().GetMailboxId(), []*storagev1.UidRange{{Start: 1, Stop: 1}}
	_, err = client.StoreFlags(ctx, &storagev1.StoreFlagsRequest{
		AccountId: "carol", MailboxId: id, Uids: first,
		Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Flags: uint32(storagev1.Flag_FLAG_DELETED),
	})
	if err != nil {
		return err
	}
	_, err = client.Expunge(ctx, &storagev1.ExpungeRequest{AccountId: "carol", MailboxId: id, Uids: first})
	return err
}

// victim is the child process: it works on the stores in dir, with quota at an address, and dies at a step.
func victim(dir, quotaAddr string, at int64, what string) error {
	conn, err := grpc.NewClient(quotaAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	k := &killer{at: at}
	s, err := open(dir, &quota{quotav1.NewQuotaServiceClient(conn), k}, k)
	if err != nil {
		return err
	}
	switch what {
	case deliverWork:
		err = work(context.Background(), s.client, k)
	case compactWork:
		err = compactBeside(context.Background(), s)
	}
	if err != nil {
		return err
	}
	return s.stop()
}
