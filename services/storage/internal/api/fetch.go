package api

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// maxHeader bounds the header octets that Fetch answers.
const maxHeader = 1 << 20

// maxFetchBytes is when an answer of Fetch is full.
const maxFetchBytes = 1 << 20

// Fetch implements storagev1.StorageServiceServer. Each page of messages is a snapshot of its own.
func (s *Service) Fetch(r *storagev1.FetchRequest, stream grpc.ServerStreamingServer[storagev1.FetchResponse]) error {
	ctx := stream.Context()
	store, account, err := s.metaAs(r)
	if err != nil {
		return err
	}
	set, err := uidset.FromProto(r.GetUids())
	if err != nil {
		return err
	}
	want := meta.Wanted{Header: r.GetHeader(), Summary: r.GetEnvelope() || r.GetPreview() || r.GetReferences(), Root: r.GetStructure()}
	for after, more := uint32(0), true; more; {
		var page []*meta.Message
		page, more, err = store.Messages(ctx, account, r.GetMailboxId(), set, after, want)
		if err != nil {
			return err
		}
		response, size := &storagev1.FetchResponse{}, 0
		whole := s.newWholes(ctx, r, page)
		for i, m := range page {
			after = m.State.GetUid()
			out, err := s.outward(ctx, account, r, m)
			if errors.Is(err, errGone) {
				continue
			}
			if err != nil {
				return err
			}
			if content := whole.of(i); content != nil {
				out.WholePrefix, out.Whole = m.Prefix, content
			}
			response.Messages = append(response.Messages, out)
			if size += proto.Size(out); size >= maxFetchBytes {
				if err := stream.Send(response); err != nil {
					return err
				}
				response, size = &storagev1.FetchResponse{}, 0
			}
		}
		if len(response.GetMessages()) > 0 {
			if err := stream.Send(response); err != nil {
				return err
			}
		}
	}
	return nil
}

// outward gives a message as the recipient has it: the prefix is part of its header.
func (s *Service) outward(ctx context.Context, account string, r *storagev1.FetchRequest, m *meta.Message) (*storagev1.Message, error) {
	out := &storagev1.Message{
		State:      m.State,
		HeaderSize: uint64(len(m.Prefix)) + uint64(m.HeaderSize),
		EmailId:    m.EmailID,
		ThreadId:   m.ThreadID,
	}
	if r.GetStructure() {
		out.Structure = withPrefix(m.Root, len(m.Prefix))
	}
	if r.GetEnvelope() {
		out.Envelope = m.Summary.GetEnvelope()
	}
	if r.GetPreview() {
		out.Preview = m.Summary.GetPreview()
	}
	if r.GetReferences() {
		out.MessageId, out.References = m.Summary.GetMessageId(), m.Summary.GetReferences()
	}
	if r.GetHeader() && out.GetHeaderSize() <= maxHeader {
		header, err := s.header(ctx, account, m)
		if err != nil {
			return nil, err
		}
		out.Header = header
	}
	return out, nil
}

// header gives prefix and header; one that is too long for the database is read from the body.
func (s *Service) header(ctx context.Context, account string, m *meta.Message) ([]byte, error) {
	header := append(make([]byte, 0, len(m.Prefix)+int(m.HeaderSize)), m.Prefix...)
	if int64(len(m.Header)) == m.HeaderSize {
		return append(header, m.Header...), nil
	}
	rest := make([]byte, m.HeaderSize)
	if _, err := s.body(ctx, account, m).ReadAt(rest, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return append(header, rest...), nil
}

// withPrefix moves the offsets of a message's parts behind the prefix, which the root's header takes in.
func withPrefix(root *mailv1.Part, prefix int) *mailv1.Part {
	if root == nil || prefix == 0 {
		return root
	}
	n := uint64(prefix)
	shift(root, n)
	root.HeaderOffset = 0
	root.HeaderSize += n
	return root
}

func shift(p *mailv1.Part, n uint64) {
	p.HeaderOffset += n
	p.BodyOffset += n
	for _, child := range p.GetChildren() {
		shift(child, n)
	}
}

// Read implements storagev1.StorageServiceServer.
func (s *Service) Read(r *storagev1.ReadRequest, stream grpc.ServerStreamingServer[storagev1.ReadResponse]) error {
	ctx := stream.Context()
	store, account, err := s.metaAs(r)
	if err != nil {
		return err
	}
	m, err := store.Message(ctx, account, r.GetMailboxId(), r.GetUid())
	if err != nil {
		return err
	}
	if m == nil {
		return errGone
	}
	size := uint64(len(m.Prefix)) + uint64(m.Location.Size)
	if r.GetOffset() >= size {
		return nil
	}
	start, stop := r.GetOffset(), size
	if n := r.GetLength(); n > 0 && n < size-start {
		stop = start + n
	}
	out := &chunkWriter{stream: stream}
	prefix := uint64(len(m.Prefix))
	if start < prefix {
		if _, err := out.Write(m.Prefix[start:min(stop, prefix)]); err != nil {
			return err
		}
		start = prefix
	}
	if start < stop {
		if _, err := s.body(ctx, account, m).WriteRange(ctx, out, int64(start-prefix), int64(stop-start)); err != nil {
			return err
		}
	}
	return out.Flush()
}

// chunkWriter sends what is written as chunks.
type chunkWriter struct {
	stream grpc.ServerStreamingServer[storagev1.ReadResponse]
	buf    []byte
	err    error
}

func (w *chunkWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if w.buf == nil {
			w.buf = make([]byte, 0, min(chunkSize, max(len(p), 32<<10)))
		}
		take := min(len(p), cap(w.buf)-len(w.buf))
		w.buf, p = append(w.buf, p[:take]...), p[take:]
		if len(w.buf) == cap(w.buf) {
			if err := w.Flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// Flush sends what is gathered. The buffer is not used again, as the transport may still hold it.
func (w *chunkWriter) Flush() error {
	if len(w.buf) > 0 && w.err == nil {
		w.err = w.stream.Send(&storagev1.ReadResponse{Chunk: w.buf})
		w.buf = nil
	}
	return w.err
}
