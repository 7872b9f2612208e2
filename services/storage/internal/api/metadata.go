package api

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

// maxEntries bounds the annotations that one request names.
const maxEntries = 256

// GetMetadata implements storagev1.StorageServiceServer.
func (s *Service) GetMetadata(ctx context.Context, r *storagev1.GetMetadataRequest) (*storagev1.GetMetadataResponse, error) {
	store, account, err := s.metaAs(r)
	if err != nil {
		return nil, err
	}
	if len(r.GetEntries()) > maxEntries {
		return nil, invalid("more than %d annotations", maxEntries)
	}
	scope := meta.AnnotationScope{All: r.GetAllMailboxes()}
	switch {
	case scope.All && r.GetMailbox() != "":
		return nil, invalid("annotations of one mailbox or of all")
	case !scope.All:
		var err error
		if scope.Mailbox, err = annotated(r.GetMailbox()); err != nil {
			return nil, err
		}
	}
	wanted := make([]names.Entry, len(r.GetEntries()))
	for i, name := range r.GetEntries() {
		e, err := names.ParseEntry(name)
		if err != nil {
			return nil, err
		}
		wanted[i] = e
	}
	matches := map[storagev1.GetMetadataRequest_Depth]func(e, wanted names.Entry) bool{
		storagev1.GetMetadataRequest_DEPTH_UNSPECIFIED: func(e, wanted names.Entry) bool { return e == wanted },
		storagev1.GetMetadataRequest_DEPTH_CHILDREN:    names.Entry.Child,
		storagev1.GetMetadataRequest_DEPTH_INFINITY:    names.Entry.Within,
	}[r.GetDepth()]
	if matches == nil {
		return nil, invalid("no depth of annotations")
	}
	found, err := store.Annotations(ctx, account, scope, func(e names.Entry) bool {
		return slices.ContainsFunc(wanted, func(w names.Entry) bool { return matches(e, w) })
	})
	if err != nil {
		return nil, err
	}
	response := &storagev1.GetMetadataResponse{}
	for _, a := range found {
		response.Entries = append(response.Entries, &storagev1.GetMetadataResponse_Entry{MailboxId: a.MailboxID, Name: a.Name, Value: a.Value})
	}
	return response, nil
}

// annotated gives the stored form of the name of a mailbox; empty for the account itself.
func annotated(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	return existing(name)
}

// SetMetadata implements storagev1.StorageServiceServer.
func (s *Service) SetMetadata(ctx context.Context, r *storagev1.SetMetadataRequest) (*storagev1.SetMetadataResponse, error) {
	store, account, err := s.metaAs(r)
	if err != nil {
		return nil, err
	}
	if n := len(r.GetChanges()); n == 0 || n > maxEntries {
		return nil, invalid("1 to %d annotations are changed at once", maxEntries)
	}
	mailbox, err := annotated(r.GetMailbox())
	if err != nil {
		return nil, err
	}
	changes := make([]meta.AnnotationChange, len(r.GetChanges()))
	for i, c := range r.GetChanges() {
		if changes[i], err = annotationChange(mailbox, c); err != nil {
			return nil, err
		}
	}
	return &storagev1.SetMetadataResponse{}, store.SetAnnotations(ctx, account, mailbox, changes)
}

func annotationChange(mailbox string, c *storagev1.SetMetadataRequest_Change) (meta.AnnotationChange, error) {
	e, err := names.ParseEntry(c.GetName())
	change := meta.AnnotationChange{Entry: e, Name: c.GetName(), Value: c.Value}
	switch {
	case err != nil:
	case !e.Settable():
		err = invalid("an annotation cannot have that name")
	case mailbox == "" && !e.Private():
		err = invalid("annotations that all accounts share are not kept") // RFC 5464 section 3.3 leaves that to the server
	case len(c.GetValue()) > meta.MaxMetadataValue:
		err = fault.Newf(codes.InvalidArgument, rpcv1.Reason_REASON_MESSAGE_TOO_LARGE, "an annotation has at most %d octets", meta.MaxMetadataValue)
	}
	return change, err
}
