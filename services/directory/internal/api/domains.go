package api

import (
	"context"
	"slices"

	"github.com/yubin-mail/yubin/pkg/address"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	"github.com/yubin-mail/yubin/services/directory/internal/resolve"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
)

// PutDomain implements DirectoryAdminService.
func (a *Admin) PutDomain(ctx context.Context, req *directoryv1.PutDomainRequest) (*directoryv1.PutDomainResponse, error) {
	in := req.GetDomain()
	name, err := parseDomain("name", in.GetName())
	if err != nil {
		return nil, err
	}
	if err := checkPopDelete(in.GetPopDelete()); err != nil {
		return nil, err
	}
	catchAll, err := parseTargets("catch_all", in.GetCatchAll())
	if err != nil {
		return nil, err
	}
	d := store.Domain{
		Name: name, CatchAll: catchAll, PopDelete: in.GetPopDelete(), NoSubaddress: in.GetNoSubaddress(), Disabled: in.GetDisabled(),
	}
	created, err := a.o.Store.PutDomain(ctx, d, a.o.Now().Unix())
	if err != nil {
		return nil, translate(err, "the domain")
	}
	return &directoryv1.PutDomainResponse{Domain: domainProto(d), Created: created}, nil
}

// ListDomains implements DirectoryAdminService.
func (a *Admin) ListDomains(ctx context.Context, _ *directoryv1.ListDomainsRequest) (*directoryv1.ListDomainsResponse, error) {
	domains, err := a.o.Store.Domains(ctx)
	if err != nil {
		return nil, err
	}
	resp := &directoryv1.ListDomainsResponse{}
	for _, d := range domains {
		resp.Domains = append(resp.Domains, domainProto(d))
	}
	return resp, nil
}

// DeleteDomain implements DirectoryAdminService.
func (a *Admin) DeleteDomain(ctx context.Context, req *directoryv1.DeleteDomainRequest) (*directoryv1.DeleteDomainResponse, error) {
	name, err := parseDomain("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.o.Store.DeleteDomain(ctx, name); err != nil {
		return nil, translate(err, "the domain")
	}
	return &directoryv1.DeleteDomainResponse{}, nil
}

// PutAlias implements DirectoryAdminService.
func (a *Admin) PutAlias(ctx context.Context, req *directoryv1.PutAliasRequest) (*directoryv1.PutAliasResponse, error) {
	addr, err := parse("address", req.GetAlias().GetAddress())
	if err != nil {
		return nil, err
	}
	targets, err := parseTargets("targets", req.GetAlias().GetTargets())
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		return nil, invalid("targets: an alias needs at least one")
	}
	created, err := a.o.Store.PutAlias(ctx, store.Alias{Address: addr, Targets: targets}, a.o.Now().Unix())
	if err != nil {
		return nil, translate(err, "the alias")
	}
	return &directoryv1.PutAliasResponse{Created: created}, nil
}

// ListAliases implements DirectoryAdminService.
func (a *Admin) ListAliases(ctx context.Context, req *directoryv1.ListAliasesRequest) (*directoryv1.ListAliasesResponse, error) {
	domain, err := optionalDomain(req.GetDomain())
	if err != nil {
		return nil, err
	}
	aliases, err := a.o.Store.Aliases(ctx, domain)
	if err != nil {
		return nil, err
	}
	resp := &directoryv1.ListAliasesResponse{}
	for _, alias := range aliases {
		resp.Aliases = append(resp.Aliases, &directoryv1.Alias{Address: alias.Address.String(), Targets: texts(alias.Targets)})
	}
	return resp, nil
}

// DeleteAlias implements DirectoryAdminService.
func (a *Admin) DeleteAlias(ctx context.Context, req *directoryv1.DeleteAliasRequest) (*directoryv1.DeleteAliasResponse, error) {
	addr, err := parse("address", req.GetAddress())
	if err != nil {
		return nil, err
	}
	if err := a.o.Store.DeleteAlias(ctx, addr); err != nil {
		return nil, translate(err, "the alias")
	}
	return &directoryv1.DeleteAliasResponse{}, nil
}

// parseTargets reads addresses, each once.
func parseTargets(field string, list []string) ([]address.Address, error) {
	if len(list) > resolve.MaxRecipients {
		return nil, invalid("%s: at most %d addresses", field, resolve.MaxRecipients)
	}
	var out []address.Address
	for _, text := range list {
		addr, err := parse(field, text)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	return out, nil
}

func optionalDomain(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	return parseDomain("domain", text)
}

func checkPopDelete(p directoryv1.PopDelete) error {
	if _, ok := directoryv1.PopDelete_name[int32(p)]; !ok {
		return invalid("pop_delete: %d is not a policy", p)
	}
	return nil
}

func domainProto(d store.Domain) *directoryv1.Domain {
	return &directoryv1.Domain{
		Name: d.Name, CatchAll: texts(d.CatchAll), PopDelete: d.PopDelete, NoSubaddress: d.NoSubaddress, Disabled: d.Disabled,
	}
}

func texts(list []address.Address) []string {
	var out []string
	for _, a := range list {
		out = append(out, a.String())
	}
	return out
}
