package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// Clients of the system.
type Clients struct {
	Directory      directoryv1.DirectoryServiceClient
	DirectoryAdmin directoryv1.DirectoryAdminServiceClient
	QuotaAdmin     quotav1.QuotaAdminServiceClient
}

// Field is one setting that changes. Old is empty where the thing is new.
type Field struct {
	Name string `json:"name"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new"`
}

// Change is one thing that is created or changed.
type Change struct {
	Action string  `json:"action"` // create or change
	Kind   string  `json:"kind"`   // domain, account, alias or limit
	Name   string  `json:"name"`
	Fields []Field `json:"fields,omitempty"`

	do func(ctx context.Context) error
	// finish is done when everything has been created: what refers to other things.
	finish func(ctx context.Context) error
}

// String is a line of the plan.
func (c Change) String() string {
	sign, fields := "+", make([]string, 0, len(c.Fields))
	if c.Action == "change" {
		sign = "~"
	}
	for _, f := range c.Fields {
		if c.Action == "change" {
			fields = append(fields, fmt.Sprintf("%s: %s → %s", f.Name, f.Old, f.New))
		} else {
			fields = append(fields, f.Name+": "+f.New)
		}
	}
	line := strings.TrimRight(fmt.Sprintf("%s %s %s", sign, c.Kind, c.Name), " ")
	if len(fields) == 0 {
		return line
	}
	return line + "  (" + strings.Join(fields, "; ") + ")"
}

// planner compares a file with a system.
type planner struct {
	Clients
	file    *File
	domains map[string]*directoryv1.Domain
	aliases map[string][]string
	limits  map[string]*quotav1.Limit
	changes []Change
	errs    []error
}

// Plan tells what has to change, in the order in which it can. It changes nothing.
func Plan(ctx context.Context, c Clients, f *File) ([]Change, error) {
	p := &planner{Clients: c, file: f, domains: map[string]*directoryv1.Domain{}, aliases: map[string][]string{}, limits: map[string]*quotav1.Limit{}}
	if err := p.load(ctx); err != nil {
		return nil, err
	}
	p.globalLimit(f.Limit)
	for i := range f.Domains {
		p.domain(&f.Domains[i])
	}
	for i := range f.Accounts {
		if err := p.account(ctx, i); err != nil {
			return nil, err
		}
	}
	for i := range f.Aliases {
		p.alias(i)
	}
	p.checkCatchAlls()
	return p.changes, errors.Join(p.errs...)
}

// Apply makes the changes and tells of each that is done. It stops at the first error; to repeat it all is safe.
func Apply(ctx context.Context, changes []Change, done func(Change) error) error {
	for _, c := range changes {
		if err := c.do(ctx); err != nil {
			return fmt.Errorf("%s %s %s: %w", c.Action, c.Kind, c.Name, err)
		}
		if err := done(c); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if c.finish == nil {
			continue
		}
		if err := c.finish(ctx); err != nil {
			return fmt.Errorf("%s %s %s: %w", c.Action, c.Kind, c.Name, err)
		}
	}
	return nil
}

func (p *planner) load(ctx context.Context) error {
	domains, err := p.DirectoryAdmin.ListDomains(ctx, &directoryv1.ListDomainsRequest{})
	if err != nil {
		return fmt.Errorf("list domains: %w", err)
	}
	for _, d := range domains.GetDomains() {
		p.domains[d.GetName()] = d
	}
	aliases, err := p.DirectoryAdmin.ListAliases(ctx, &directoryv1.ListAliasesRequest{})
	if err != nil {
		return fmt.Errorf("list aliases: %w", err)
	}
	for _, a := range aliases.GetAliases() {
		p.aliases[a.GetAddress()] = a.GetTargets()
	}
	limits, err := p.QuotaAdmin.ListLimits(ctx, &quotav1.ListLimitsRequest{})
	if err != nil {
		return fmt.Errorf("list limits: %w", err)
	}
	for _, e := range limits.GetEntries() {
		p.limits[ScopeKey(e.GetScope())] = e.GetLimit()
	}
	return nil
}

func globalScope() *quotav1.Scope { return &quotav1.Scope{Scope: &quotav1.Scope_Global{Global: true}} }

func domainScope(name string) *quotav1.Scope {
	return &quotav1.Scope{Scope: &quotav1.Scope_Domain{Domain: name}}
}

func accountScope(id string) *quotav1.Scope {
	return &quotav1.Scope{Scope: &quotav1.Scope_AccountId{AccountId: id}}
}

// merge gives the limit that a scope should have, and what changes for that. An empty scope key is that of something new.
func (p *planner) merge(key string, want *Limit) (*quotav1.Limit, []Field) {
	now, limit := p.limits[key], &quotav1.Limit{}
	if now != nil {
		limit.Bytes, limit.Messages = now.Bytes, now.Messages
	}
	if want == nil {
		return limit, nil
	}
	var fields []Field
	for _, v := range []struct {
		name string
		text *string
		size bool
		at   **int64
	}{{"size", want.Size, true, &limit.Bytes}, {"messages", want.Messages, false, &limit.Messages}} {
		if v.text == nil {
			continue
		}
		n, err := ParseLimit(*v.text, v.size)
		if err != nil {
			panic(err) // Parse has parsed it
		}
		if was, will := FormatLimit(*v.at, v.size), FormatLimit(n, v.size); was != will {
			fields = append(fields, Field{"limit " + v.name, was, will})
			*v.at = n
		}
	}
	return limit, fields
}

// globalLimit plans the default of all accounts.
func (p *planner) globalLimit(want *Limit) {
	scope := globalScope()
	limit, fields := p.merge(ScopeKey(scope), want)
	if len(fields) > 0 {
		p.changes = append(p.changes, Change{Action: "change", Kind: "limit", Name: "of all accounts", Fields: fields, do: p.setLimit(scope, limit)})
	}
}

func (p *planner) setLimit(scope *quotav1.Scope, limit *quotav1.Limit) func(context.Context) error {
	return func(ctx context.Context) error {
		if _, err := p.QuotaAdmin.SetLimit(ctx, &quotav1.SetLimitRequest{Scope: scope, Limit: limit}); err != nil {
			return fmt.Errorf("set limit: %w", err)
		}
		return nil
	}
}

func (p *planner) domain(want *Domain) {
	now := p.domains[want.Name]
	d := &directoryv1.Domain{Name: want.Name}
	if now != nil {
		d.CatchAll, d.PopDelete, d.NoSubaddress, d.Disabled = now.GetCatchAll(), now.GetPopDelete(), now.GetNoSubaddress(), now.GetDisabled()
	}
	var fields []Field
	catchAll := want.CatchAll != nil && !slices.Equal(unique(*want.CatchAll), d.CatchAll)
	if catchAll {
		fields = append(fields, Field{"catch-all", addressList(d.CatchAll), addressList(*want.CatchAll)})
		d.CatchAll = unique(*want.CatchAll)
	}
	fields = append(fields, popDeleteField(want.PopDelete, &d.PopDelete)...)
	if want.Subaddress != nil && *want.Subaddress == d.NoSubaddress {
		fields = append(fields, Field{"subaddress", yesNo(!d.NoSubaddress), yesNo(*want.Subaddress)})
		d.NoSubaddress = !*want.Subaddress
	}
	fields = append(fields, boolField("disabled", want.Disabled, &d.Disabled)...)
	scope := domainScope(want.Name)
	limit, limitFields := p.merge(ScopeKey(scope), want.Limit)
	if now != nil && len(fields)+len(limitFields) == 0 {
		return
	}
	put := func(d *directoryv1.Domain) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := p.DirectoryAdmin.PutDomain(ctx, &directoryv1.PutDomainRequest{Domain: d})
			return err
		}
	}
	change := newChange(now == nil, "domain", want.Name, append(slices.Clip(fields), limitFields...))
	var steps []func(context.Context) error
	if now == nil || len(fields) > 0 {
		first := d
		if catchAll { // its addresses may be in a domain that is yet to be made
			first = &directoryv1.Domain{Name: d.GetName(), CatchAll: now.GetCatchAll(), PopDelete: d.GetPopDelete(), NoSubaddress: d.GetNoSubaddress(), Disabled: d.GetDisabled()}
			change.finish = put(d)
		}
		steps = append(steps, put(first))
	}
	if len(limitFields) > 0 {
		steps = append(steps, p.setLimit(scope, limit))
	}
	change.do = inOrder(steps)
	p.changes = append(p.changes, change)
}

func (p *planner) account(ctx context.Context, i int) error {
	want := &p.file.Accounts[i]
	resp, err := p.Directory.GetAccount(ctx, &directoryv1.GetAccountRequest{Key: &directoryv1.GetAccountRequest_Address{Address: want.Address}})
	if err != nil && !fault.Is(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND) {
		return fmt.Errorf("look for account %s: %w", want.Address, err)
	}
	now := resp.GetAccount()
	if now == nil {
		p.newAccount(i)
		return nil
	}
	update := &directoryv1.UpdateAccountRequest{Address: want.Address}
	var fields []Field
	if want.DisplayName != nil && *want.DisplayName != now.GetDisplayName() {
		fields = append(fields, Field{"display-name", fmt.Sprintf("%q", now.GetDisplayName()), fmt.Sprintf("%q", *want.DisplayName)})
		update.DisplayName = want.DisplayName
	}
	policy, disabled := now.GetPopDelete(), now.GetDisabled()
	if changed := popDeleteField(want.PopDelete, &policy); changed != nil {
		fields, update.PopDelete = append(fields, changed...), &policy
	}
	if changed := boolField("disabled", want.Disabled, &disabled); changed != nil {
		fields, update.Disabled = append(fields, changed...), &disabled
	}
	scope := accountScope(now.GetAccountId())
	limit, limitFields := p.merge(ScopeKey(scope), want.Limit)
	if len(fields)+len(limitFields) == 0 {
		return nil
	}
	var steps []func(context.Context) error
	if len(fields) > 0 {
		steps = append(steps, func(ctx context.Context) error {
			_, err := p.DirectoryAdmin.UpdateAccount(ctx, update)
			return err
		})
	}
	if len(limitFields) > 0 {
		steps = append(steps, p.setLimit(scope, limit))
	}
	change := newChange(false, "account", want.Address, append(fields, limitFields...))
	change.do = inOrder(steps)
	p.changes = append(p.changes, change)
	return nil
}

func (p *planner) newAccount(i int) {
	want := &p.file.Accounts[i]
	p.needDomain(want.Address, "accounts", i, "address")
	if _, taken := p.aliases[want.Address]; taken {
		p.wrong("%s is an alias already", []any{want.Address}, "accounts", i, "address")
	}
	req := &directoryv1.CreateAccountRequest{Address: want.Address, Password: want.Password}
	var fields []Field
	if want.DisplayName != nil && *want.DisplayName != "" {
		req.DisplayName = *want.DisplayName
		fields = append(fields, Field{Name: "display-name", New: fmt.Sprintf("%q", req.DisplayName)})
	}
	if want.Password == "" {
		fields = append(fields, Field{Name: "password", New: "none"})
	}
	fields = append(fields, popDeleteField(want.PopDelete, &req.PopDelete)...)
	fields = append(fields, boolField("disabled", want.Disabled, &req.Disabled)...)
	limit, limitFields := p.merge("", want.Limit)
	change := newChange(true, "account", want.Address, append(fields, limitFields...))
	change.do = func(ctx context.Context) error {
		resp, err := p.DirectoryAdmin.CreateAccount(ctx, req)
		if err != nil || len(limitFields) == 0 {
			return err
		}
		return p.setLimit(accountScope(resp.GetAccount().GetAccountId()), limit)(ctx)
	}
	p.changes = append(p.changes, change)
}

func (p *planner) alias(i int) {
	want := &p.file.Aliases[i]
	p.needDomain(want.Address, "aliases", i, "address")
	for j, target := range want.Targets {
		p.needDomain(target, "aliases", i, "targets", j)
	}
	now, exists := p.aliases[want.Address]
	targets := unique(want.Targets)
	if exists && slices.Equal(slices.Sorted(slices.Values(now)), slices.Sorted(slices.Values(targets))) {
		return
	}
	change := newChange(!exists, "alias", want.Address, []Field{{"targets", addressList(now), addressList(targets)}})
	change.do = func(ctx context.Context) error {
		_, err := p.DirectoryAdmin.PutAlias(ctx, &directoryv1.PutAliasRequest{Alias: &directoryv1.Alias{Address: want.Address, Targets: targets}})
		return err
	}
	p.changes = append(p.changes, change)
}

func (p *planner) checkCatchAlls() {
	for i, d := range p.file.Domains {
		if d.CatchAll == nil {
			continue
		}
		for j, target := range *d.CatchAll {
			p.needDomain(target, "domains", i, "catch-all", j)
		}
	}
}

// needDomain finds the domain of an address in the system or in the file.
func (p *planner) needDomain(addr string, path ...any) {
	domain := addr[strings.LastIndexByte(addr, '@')+1:]
	declared := slices.ContainsFunc(p.file.Domains, func(d Domain) bool { return d.Name == domain })
	if p.domains[domain] == nil && !declared {
		p.wrong("%s: there is no domain %s, and the file does not make one", []any{addr, domain}, path...)
	}
}

func (p *planner) wrong(format string, args []any, path ...any) {
	p.errs = append(p.errs, fmt.Errorf("line %d: %w", p.file.line(path...), fmt.Errorf(format, args...)))
}

func newChange(created bool, kind, name string, fields []Field) Change {
	action := "change"
	if created {
		action = "create"
		for i := range fields {
			fields[i].Old = ""
		}
	}
	return Change{Action: action, Kind: kind, Name: name, Fields: fields}
}

func inOrder(steps []func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, step := range steps {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

func popDeleteField(want *string, at *directoryv1.PopDelete) []Field {
	if want == nil {
		return nil
	}
	policy, _ := ParsePopDelete(*want)
	if policy == *at {
		return nil
	}
	f := Field{"pop-delete", PopDeleteName(*at), PopDeleteName(policy)}
	*at = policy
	return []Field{f}
}

func boolField(name string, want, at *bool) []Field {
	if want == nil || *want == *at {
		return nil
	}
	f := Field{name, yesNo(*at), yesNo(*want)}
	*at = *want
	return []Field{f}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func addressList(addresses []string) string {
	if len(addresses) == 0 {
		return "none"
	}
	return strings.Join(addresses, ", ")
}

// unique keeps the order, and each address once, as the directory does.
func unique(addresses []string) []string {
	var out []string
	for _, a := range addresses {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}
