package api

import (
	"context"
	"strings"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// GetAcl implements storagev1.StorageServiceServer.
func (s *Service) GetAcl(ctx context.Context, r *storagev1.GetAclRequest) (*storagev1.GetAclResponse, error) {
	store, account, err := s.metaAs(r)
	if err != nil {
		return nil, err
	}
	name, err := existing(r.GetMailbox())
	if err != nil {
		return nil, err
	}
	list, err := store.Acl(ctx, account, name)
	if err != nil {
		return nil, err
	}
	response := &storagev1.GetAclResponse{}
	for _, g := range list {
		response.Entries = append(response.Entries, &storagev1.AclEntry{Grantee: g.Grantee, Rights: g.Rights.String()})
	}
	return response, nil
}

// SetAcl implements storagev1.StorageServiceServer.
func (s *Service) SetAcl(ctx context.Context, r *storagev1.SetAclRequest) (*storagev1.SetAclResponse, error) {
	store, account, err := s.metaAs(r)
	if err != nil {
		return nil, err
	}
	name, err := existing(r.GetMailbox())
	if err != nil {
		return nil, err
	}
	switch r.GetOperation() {
	case storagev1.SetAclRequest_OPERATION_SET, storagev1.SetAclRequest_OPERATION_ADD, storagev1.SetAclRequest_OPERATION_REMOVE:
	default:
		return nil, invalid("no operation on an access control list")
	}
	rights, err := meta.ParseRights(r.GetEntry().GetRights())
	if err != nil {
		return nil, err
	}
	grantee := r.GetEntry().GetGrantee()
	if err := checkGrantee(grantee); err != nil {
		return nil, err
	}
	return &storagev1.SetAclResponse{}, store.SetAcl(ctx, account, name, r.GetOperation(), meta.Grant{Grantee: grantee, Rights: rights})
}

// checkGrantee takes an account id, or "@" and a domain in lower case.
func checkGrantee(grantee string) error {
	domain, isDomain := strings.CutPrefix(grantee, "@")
	if !isDomain {
		return checkAccount(grantee)
	}
	if domain == "" || len(domain) > maxDomain || strings.ToLower(domain) != domain || strings.ContainsAny(domain, "@ ") {
		return invalid("the grantee is no domain")
	}
	return nil
}
