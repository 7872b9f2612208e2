package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

const (
	inbox = "INBOX"
	// chunkSize is how many octets go into one message of a stream.
	chunkSize = 64 << 10
	// appendTimeout bounds the append of one message: as long as storage takes for any.
	appendTimeout = 5 * time.Minute
)

// ErrFull ends an import into an account that has no room left.
var ErrFull = errors.New("the account is full")

// Import of a source into an account.
type Import struct {
	Storage   storagev1.StorageServiceClient
	AccountID string
	Source    Source
	State     *State
	// Mailbox takes all messages; empty: each goes where it was, and INBOX if it was nowhere.
	Mailbox  string
	Progress Progress

	mailboxes map[string]string // of the source to those of the account
}

// Skipped is a message that was not imported.
type Skipped struct {
	Key    string `json:"key"`
	Reason string `json:"reason"`
}

// ImportResult counts.
type ImportResult struct {
	Messages int       `json:"messages"` // imported now
	Bytes    int64     `json:"bytes"`    // their octets
	Before   int       `json:"before"`   // were there from an earlier run
	Skipped  []Skipped `json:"skipped,omitempty"`
}

// Run imports what the state does not have. The result is right also after an error, and Run may be repeated after one.
func (im *Import) Run(ctx context.Context) (result ImportResult, err error) {
	items, folders, err := im.Source.Index(ctx)
	if err != nil {
		return result, err
	}
	var todo []Item
	var octets int64
	for _, item := range items {
		if im.State.Has(item.Key) {
			result.Before++
			continue
		}
		todo = append(todo, item)
		octets += item.Size
	}
	if err := im.prepare(ctx, items, folders); err != nil {
		return result, err
	}
	im.Progress.Start(len(todo), octets)
	defer im.Progress.Finish()
	err = im.Source.Read(ctx, todo, func(item Item, content io.Reader) error {
		n, err := im.append(ctx, item, content)
		switch {
		case err == nil:
			result.Messages++
			result.Bytes += n
			im.Progress.Done(item.Size)
			return im.State.Add(item.Key)
		case fault.Is(err, rpcv1.Reason_REASON_MESSAGE_TOO_LARGE):
			result.Skipped = append(result.Skipped, Skipped{item.Key, fault.Text(err)})
			im.Progress.Done(item.Size)
			return nil
		case fault.Is(err, rpcv1.Reason_REASON_OVER_QUOTA):
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
		return fmt.Errorf("append to %s: %w", im.target(item), err)
	})
	return result, err
}

// target is the mailbox for a message.
func (im *Import) target(item Item) string {
	switch {
	case im.Mailbox != "":
		return im.Mailbox
	case item.Mailbox == "":
		return inbox
	}
	if name, ok := im.mailboxes[item.Mailbox]; ok {
		return name
	}
	return item.Mailbox
}

// prepare makes the mailboxes that are missing, and finds those of a special use.
func (im *Import) prepare(ctx context.Context, items []Item, folders []Folder) error {
	resp, err := im.Storage.ListMailboxes(ctx, &storagev1.ListMailboxesRequest{AccountId: im.AccountID})
	if err != nil {
		return fmt.Errorf("list mailboxes: %w", err)
	}
	exists, byUse := map[string]bool{}, map[storagev1.SpecialUse]string{}
	for _, m := range resp.GetMailboxes() {
		exists[m.GetName()] = true
		if use := m.GetSpecialUse(); use != storagev1.SpecialUse_SPECIAL_USE_UNSPECIFIED {
			byUse[use] = m.GetName()
		}
	}
	im.mailboxes = map[string]string{}
	for _, f := range folders {
		if name := byUse[f.SpecialUse]; name != "" {
			im.mailboxes[f.Name] = name
		}
	}
	need := []string{}
	if im.Mailbox == "" {
		for _, f := range folders {
			need = append(need, im.target(Item{Mailbox: f.Name}))
		}
	}
	for _, item := range items {
		need = append(need, im.target(item))
	}
	for _, name := range need {
		if exists[name] || strings.EqualFold(name, inbox) {
			continue
		}
		exists[name] = true
		_, err := im.Storage.CreateMailbox(ctx, &storagev1.CreateMailboxRequest{AccountId: im.AccountID, Name: name})
		if err != nil && !fault.Is(err, rpcv1.Reason_REASON_MAILBOX_EXISTS) {
			return fmt.Errorf("create mailbox %q: %w", name, err)
		}
	}
	return nil
}

// append stores one message and gives its octets.
func (im *Import) append(ctx context.Context, item Item, content io.Reader) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel() // a stream without commit stores nothing
	stream, err := im.Storage.Append(ctx)
	if err != nil {
		return 0, err
	}
	mailbox := im.target(item)
	start := &storagev1.AppendRequest_Message{Flags: item.Flags, Keywords: item.Keywords, SizeHint: uint64(max(item.Size, 0))}
	if !item.Date.IsZero() {
		start.InternalUnix = item.Date.Unix()
	}
	send := func(r *storagev1.AppendRequest) error {
		if err := stream.Send(r); !errors.Is(err, io.EOF) {
			return err
		}
		_, err := stream.CloseAndRecv() // storage has answered already: with an error
		if err == nil {
			err = errors.New("storage answered before the end of the message")
		}
		return err
	}
	err = send(&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Target_{Target: &storagev1.AppendRequest_Target{
		AccountId: im.AccountID, Mailbox: mailbox, AppendId: im.State.AppendID(mailbox, item.Key),
	}}})
	if err == nil {
		err = send(&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Start{Start: start}})
	}
	var size int64
	for buffer := make([]byte, chunkSize); err == nil; {
		n, readErr := io.ReadFull(content, buffer)
		if n > 0 {
			size += int64(n)
			if err = send(&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Chunk{Chunk: buffer[:n]}}); err != nil {
				break
			}
		}
		if errors.Is(readErr, io.EOF) || errors.Is(readErr, io.ErrUnexpectedEOF) {
			break
		}
		if readErr != nil {
			return 0, fmt.Errorf("read message: %w", readErr)
		}
	}
	if err == nil {
		err = send(&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Commit{Commit: &storagev1.Commit{Size: uint64(size)}}})
	}
	if err != nil {
		return 0, err
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		return 0, err
	}
	return size, nil
}
