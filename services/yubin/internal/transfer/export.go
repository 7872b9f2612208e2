package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/yubin/internal/maildir"
	"github.com/yubin-mail/yubin/services/yubin/internal/mbox"
)

// Sink is where messages go.
type Sink interface {
	// Has tells whether a message is there from an earlier run.
	Has(box *storagev1.Mailbox, m *storagev1.MessageState) (bool, error)
	// Write adds a message, whole or not at all.
	Write(box *storagev1.Mailbox, m *storagev1.MessageState, content io.Reader) error
	// Close completes the sink, or gives up what is not complete.
	Close(complete bool) error
}

// Export of an account into a sink.
type Export struct {
	Storage   storagev1.StorageServiceClient
	AccountID string
	Sink      Sink
	Mailboxes []string // empty: all
	Progress  Progress
}

// ExportResult counts.
type ExportResult struct {
	Mailboxes int   `json:"mailboxes"`
	Messages  int   `json:"messages"` // exported now
	Bytes     int64 `json:"bytes"`    // their octets
	Before    int   `json:"before"`   // were there from an earlier run
}

type exportItem struct {
	box   *storagev1.Mailbox
	state *storagev1.MessageState
}

// Run exports all messages that the sink does not have.
func (ex *Export) Run(ctx context.Context) (result ExportResult, err error) {
	defer func() { err = errors.Join(err, ex.Sink.Close(err == nil)) }()
	boxes, err := ex.boxes(ctx)
	if err != nil {
		return result, err
	}
	var todo []exportItem
	var octets int64
	for _, box := range boxes {
		states, err := ex.states(ctx, box)
		if err != nil {
			return result, fmt.Errorf("list messages of %s: %w", box.GetName(), err)
		}
		for _, m := range states {
			has, err := ex.Sink.Has(box, m)
			if err != nil {
				return result, err
			}
			if has {
				result.Before++
				continue
			}
			todo = append(todo, exportItem{box, m})
			octets += int64(m.GetSize())
		}
		result.Mailboxes++
	}
	ex.Progress.Start(len(todo), octets)
	defer ex.Progress.Finish()
	for _, item := range todo {
		gone, err := ex.message(ctx, item)
		if err != nil {
			return result, fmt.Errorf("export message %d of %s: %w", item.state.GetUid(), item.box.GetName(), err)
		}
		ex.Progress.Done(int64(item.state.GetSize()))
		if !gone {
			result.Messages++
			result.Bytes += int64(item.state.GetSize())
		}
	}
	return result, nil
}

func (ex *Export) boxes(ctx context.Context) ([]*storagev1.Mailbox, error) {
	if len(ex.Mailboxes) == 0 {
		resp, err := ex.Storage.ListMailboxes(ctx, &storagev1.ListMailboxesRequest{AccountId: ex.AccountID})
		if err != nil {
			return nil, fmt.Errorf("list mailboxes: %w", err)
		}
		return resp.GetMailboxes(), nil
	}
	var out []*storagev1.Mailbox
	for _, name := range ex.Mailboxes {
		resp, err := ex.Storage.GetMailbox(ctx, &storagev1.GetMailboxRequest{AccountId: ex.AccountID, Key: &storagev1.GetMailboxRequest_Name{Name: name}})
		if err != nil {
			return nil, fmt.Errorf("find mailbox %s: %w", name, err)
		}
		out = append(out, resp.GetMailbox())
	}
	return out, nil
}

func (ex *Export) states(ctx context.Context, box *storagev1.Mailbox) (states []*storagev1.MessageState, err error) {
	stream, err := ex.Storage.Sync(ctx, &storagev1.SyncRequest{AccountId: ex.AccountID, MailboxId: box.GetMailboxId()})
	if err != nil {
		return nil, err
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return states, nil
		}
		if err != nil {
			return nil, err
		}
		states = append(states, resp.GetChanged()...)
	}
}

// message exports one. It is gone if its owner has deleted it meanwhile.
func (ex *Export) message(ctx context.Context, item exportItem) (gone bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	stream, err := ex.Storage.Read(ctx, &storagev1.ReadRequest{AccountId: ex.AccountID, MailboxId: item.box.GetMailboxId(), Uid: item.state.GetUid()})
	if err != nil {
		return false, err
	}
	r := &chunkReader{receive: stream.Recv, left: int64(item.state.GetSize())}
	err = ex.Sink.Write(item.box, item.state, r)
	if fault.Is(err, rpcv1.Reason_REASON_NOT_FOUND) {
		return true, nil
	}
	return false, err
}

// chunkReader reads a message, and fails if it is not as long as it should be.
type chunkReader struct {
	receive func() (*storagev1.ReadResponse, error)
	chunk   []byte
	left    int64
}

// Read implements io.Reader.
func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.chunk) == 0 {
		resp, err := r.receive()
		if errors.Is(err, io.EOF) && r.left != 0 {
			return 0, fmt.Errorf("the message is %d octets shorter than it should be", r.left)
		}
		if err != nil {
			return 0, err
		}
		r.chunk = resp.GetChunk()
		if r.left -= int64(len(r.chunk)); r.left < 0 {
			return 0, fmt.Errorf("the message is %d octets longer than it should be", -r.left)
		}
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

// maildirSink writes a Maildir++ tree, where an earlier run's messages are known by their names.
type maildirSink struct{ w *maildir.Writer }

// NewMaildirSink makes or goes on with a Maildir.
func NewMaildirSink(dir string) (Sink, error) {
	w, err := maildir.NewWriter(dir)
	if err != nil {
		return nil, err
	}
	return &maildirSink{w}, nil
}

func uniqueName(box *storagev1.Mailbox, m *storagev1.MessageState) string {
	return fmt.Sprintf("%d.V%dU%d.yubin,S=%d", m.GetInternalUnix(), box.GetUidValidity(), m.GetUid(), m.GetSize())
}

func (s *maildirSink) Has(box *storagev1.Mailbox, m *storagev1.MessageState) (bool, error) {
	return s.w.Has(box.GetName(), uniqueName(box, m))
}

func (s *maildirSink) Write(box *storagev1.Mailbox, m *storagev1.MessageState, content io.Reader) error {
	flags := maildir.Flags{
		Seen: hasFlag(m.GetFlags(), storagev1.Flag_FLAG_SEEN), Answered: hasFlag(m.GetFlags(), storagev1.Flag_FLAG_ANSWERED),
		Flagged: hasFlag(m.GetFlags(), storagev1.Flag_FLAG_FLAGGED), Deleted: hasFlag(m.GetFlags(), storagev1.Flag_FLAG_DELETED),
		Draft: hasFlag(m.GetFlags(), storagev1.Flag_FLAG_DRAFT), Keywords: m.GetKeywords(),
	}
	return s.w.Write(box.GetName(), uniqueName(box, m), flags, time.Unix(m.GetInternalUnix(), 0), func(w io.Writer) error {
		_, err := io.Copy(w, content)
		return err
	})
}

func (s *maildirSink) Close(bool) error { return nil }

// mboxSink writes an mbox file under another name until it is complete.
type mboxSink struct {
	path string
	file *os.File
	w    *mbox.Writer
}

// NewMboxSink makes an mbox file. It is an error if there is one.
func NewMboxSink(path string) (Sink, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("%s is there already: choose another name, or remove it", path)
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*")
	if err != nil {
		return nil, err
	}
	return &mboxSink{path: path, file: file, w: mbox.NewWriter(file)}, nil
}

func (s *mboxSink) Has(*storagev1.Mailbox, *storagev1.MessageState) (bool, error) { return false, nil }

func (s *mboxSink) Write(box *storagev1.Mailbox, m *storagev1.MessageState, content io.Reader) error {
	// A message that is gone must not leave its first lines behind: look for its first octet before they are written.
	head := make([]byte, 1)
	n, err := io.ReadFull(content, head)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return s.w.Write(mbox.Meta{
		Seen: hasFlag(m.GetFlags(), storagev1.Flag_FLAG_SEEN), Answered: hasFlag(m.GetFlags(), storagev1.Flag_FLAG_ANSWERED),
		Flagged: hasFlag(m.GetFlags(), storagev1.Flag_FLAG_FLAGGED), Deleted: hasFlag(m.GetFlags(), storagev1.Flag_FLAG_DELETED),
		Draft: hasFlag(m.GetFlags(), storagev1.Flag_FLAG_DRAFT), Keywords: m.GetKeywords(), Mailbox: box.GetName(), Date: time.Unix(m.GetInternalUnix(), 0),
	}, io.MultiReader(bytes.NewReader(head[:n]), content))
}

func (s *mboxSink) Close(complete bool) error {
	err := s.w.Flush()
	if complete && err == nil {
		err = s.file.Sync()
	}
	err = errors.Join(err, s.file.Close())
	if !complete || err != nil {
		return errors.Join(err, os.Remove(s.file.Name()))
	}
	return os.Rename(s.file.Name(), s.path)
}
