package api

import (
	"bytes"
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/delivery"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

const (
	// maxPrefix bounds a recipient's prefix.
	maxPrefix = 4 << 10
	// maxNotice bounds the message of DeliverNotice.
	maxNotice = 256 << 10
)

var errUncommitted = invalid("the stream ended without a commit")

// Deliver implements storagev1.StorageServiceServer.
func (s *Service) Deliver(stream grpc.ClientStreamingServer[storagev1.DeliverRequest, storagev1.DeliverResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return ended(err)
	}
	header := first.GetHeader()
	if err := s.checkHeader(header); err != nil {
		return err
	}
	message, err := s.Writer.NewMessage(header.GetSizeHint())
	if err != nil {
		return err
	}
	defer message.Close() //nolint:errcheck // frees memory or a temporary file; nothing depends on it
	if err := receive(stream, message); err != nil {
		return err
	}
	targets, index := deliveryTargets(header, message)
	outcomes, err := s.Writer.Store(stream.Context(), delivery.Request{
		ID: "d:" + header.GetDeliveryId(), Targets: targets, AllOrNone: header.GetAllOrNone(),
	})
	if err != nil {
		return err
	}
	response := &storagev1.DeliverResponse{}
	for i, r := range header.GetRecipients() {
		o := outcomes[index[i]]
		response.Results = append(response.Results, &storagev1.DeliverResponse_Result{
			AccountId: r.GetAccountId(), Status: statuses[o.Status], MailboxId: o.MailboxID, Uid: o.UID,
		})
	}
	return stream.SendAndClose(response)
}

var statuses = map[delivery.Status]storagev1.DeliveryStatus{
	delivery.Stored:    storagev1.DeliveryStatus_DELIVERY_STATUS_STORED,
	delivery.OverQuota: storagev1.DeliveryStatus_DELIVERY_STATUS_OVER_QUOTA,
	delivery.NotStored: storagev1.DeliveryStatus_DELIVERY_STATUS_NOT_STORED,
	delivery.NoAccount: storagev1.DeliveryStatus_DELIVERY_STATUS_NO_ACCOUNT,
}

func (s *Service) checkHeader(h *storagev1.DeliverRequest_Header) error {
	switch n := len(h.GetRecipients()); {
	case h == nil:
		return invalid("a delivery begins with its header")
	case h.GetDeliveryId() == "" || len(h.GetDeliveryId()) > maxID:
		return invalid("the delivery id is empty or longer than %d octets", maxID)
	case n == 0 || n > s.MaxRecipients:
		return invalid("a delivery has 1 to %d recipients", s.MaxRecipients)
	}
	for _, r := range h.GetRecipients() {
		if err := checkAccount(r.GetAccountId()); err != nil {
			return err
		}
		if err := checkPrefix(r.GetPrefix()); err != nil {
			return err
		}
	}
	return nil
}

// checkPrefix wants whole lines: anything else would join the message's first header field.
func checkPrefix(prefix []byte) error {
	if len(prefix) > maxPrefix {
		return invalid("a prefix is longer than %d octets", maxPrefix)
	}
	lines := bytes.ReplaceAll(prefix, []byte("\r\n"), nil)
	if len(prefix) > 0 && !bytes.HasSuffix(prefix, []byte("\r\n")) || bytes.ContainsAny(lines, "\r\n") {
		return invalid("a prefix has CRLF line ends")
	}
	if bytes.Contains(prefix, []byte("\r\n\r\n")) || bytes.HasPrefix(prefix, []byte("\r\n")) {
		return invalid("a prefix has no blank line")
	}
	return nil
}

// deliveryTargets gives the targets, one an account and mailbox, and the target of each recipient.
func deliveryTargets(h *storagev1.DeliverRequest_Header, message *delivery.Message) (targets []delivery.Target, index []int) {
	type key struct{ account, mailbox string }
	known := map[key]int{}
	for _, r := range h.GetRecipients() {
		name, err := names.Normalise(r.GetMailbox())
		if err != nil { // empty, or one that cannot exist
			name = names.Inbox
		}
		k := key{r.GetAccountId(), name}
		i, ok := known[k]
		if !ok {
			i = len(targets)
			known[k] = i
			targets = append(targets, delivery.Target{
				Message: message, AccountID: r.GetAccountId(), Mailbox: name, Fallback: true, Prefix: r.GetPrefix(),
			})
		}
		index = append(index, i)
	}
	return targets, index
}

// receive writes the chunks of a stream into a message and seals it at the commit.
func receive(stream grpc.ClientStreamingServer[storagev1.DeliverRequest, storagev1.DeliverResponse], message *delivery.Message) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return ended(err)
		}
		switch m := r.GetMessage().(type) {
		case *storagev1.DeliverRequest_Chunk:
			if err := writeChunk(message, m.Chunk); err != nil {
				return err
			}
		case *storagev1.DeliverRequest_Commit:
			return message.Seal(m.Commit.GetSize())
		default:
			return invalid("a delivery has one header, chunks and a commit")
		}
	}
}

func writeChunk(message *delivery.Message, chunk []byte) error {
	if len(chunk) > maxChunk {
		return invalid("a chunk is larger than %d octets", maxChunk)
	}
	_, err := message.Write(chunk)
	return err
}

// ended gives the end of a stream before its commit a reason.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errUncommitted
	}
	return err
}

// DeliverNotice implements storagev1.StorageServiceServer.
func (s *Service) DeliverNotice(ctx context.Context, r *storagev1.DeliverNoticeRequest) (*storagev1.DeliverNoticeResponse, error) {
	if err := checkAccount(r.GetAccountId()); err != nil {
		return nil, err
	}
	switch {
	case r.GetDeliveryId() == "" || len(r.GetDeliveryId()) > maxID:
		return nil, invalid("the delivery id is empty or longer than %d octets", maxID)
	case len(r.GetMessage()) == 0 || len(r.GetMessage()) > maxNotice:
		return nil, invalid("a notice has 1 to %d octets", maxNotice)
	}
	message, err := s.Writer.NewMessage(0)
	if err != nil {
		return nil, err
	}
	defer message.Close() //nolint:errcheck // frees memory or a temporary file; nothing depends on it
	if _, err := message.Write(r.GetMessage()); err != nil {
		return nil, err
	}
	if err := message.Seal(uint64(len(r.GetMessage()))); err != nil {
		return nil, err
	}
	outcomes, err := s.Writer.Store(ctx, delivery.Request{
		ID:      "d:" + r.GetDeliveryId(),
		Targets: []delivery.Target{{Message: message, AccountID: r.GetAccountId(), Mailbox: names.Inbox}},
		Exempt:  true,
	})
	if err != nil {
		return nil, err
	}
	switch outcomes[0].Status {
	case delivery.Stored:
	case delivery.NoAccount:
		return nil, meta.ErrAccountNotFound
	default:
		return nil, invalid("quota refused a notice")
	}
	return &storagev1.DeliverNoticeResponse{Uid: outcomes[0].UID}, nil
}
