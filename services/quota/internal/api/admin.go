package api

import (
	"context"
	"strings"

	"golang.org/x/net/idna"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
	"github.com/yubin-mail/yubin/services/quota/internal/reconcile"
)

// maxPage is the most accounts that ListUsage gives at a time.
const maxPage = 1000

// Admin implements quotav1.QuotaAdminServiceServer.
type Admin struct {
	quotav1.UnimplementedQuotaAdminServiceServer
	Service    *Service
	Reconciler *reconcile.Reconciler
	// LimitsByIMAP lets the IMAP gateway, and so whoever takes it over, set the limits of accounts.
	LimitsByIMAP bool
}

var _ quotav1.QuotaAdminServiceServer = (*Admin)(nil)

// SetLimit implements quotav1.QuotaAdminServiceServer.
func (a *Admin) SetLimit(ctx context.Context, req *quotav1.SetLimitRequest) (*quotav1.SetLimitResponse, error) {
	if rpc.Caller(ctx) == "imap" && (!a.LimitsByIMAP || req.GetScope().GetAccountId() == "") {
		return nil, fault.New(codes.PermissionDenied, rpcv1.Reason_REASON_CALLER_NOT_ALLOWED, "limits are not set by IMAP here")
	}
	scope, err := scopeOf(req.GetScope())
	if err != nil {
		return nil, err
	}
	limit := ledger.Limit{}
	if l := req.GetLimit(); l != nil {
		limit = ledger.Limit{Bytes: l.Bytes, Messages: l.Messages}
	}
	for _, v := range []*int64{limit.Bytes, limit.Messages} {
		if v != nil && *v < ledger.Unlimited {
			return nil, invalid("limit %d: must be -1 (none), 0 or more", *v)
		}
	}
	err = a.Service.withAccount(ctx, func() error { return a.Service.Ledger.SetLimit(ctx, scope, limit) })
	if err != nil {
		return nil, err
	}
	return &quotav1.SetLimitResponse{}, nil
}

func scopeOf(scope *quotav1.Scope) (ledger.Scope, error) {
	switch s := scope.GetScope().(type) {
	case *quotav1.Scope_Global:
		if s.Global {
			return ledger.Scope{}, nil
		}
	case *quotav1.Scope_Domain:
		domain, err := idna.Lookup.ToASCII(strings.TrimSuffix(s.Domain, "."))
		if err != nil || domain == "" {
			return ledger.Scope{}, invalid("%q is no domain", s.Domain)
		}
		return ledger.Scope{Domain: domain}, nil
	case *quotav1.Scope_AccountId:
		return ledger.Scope{AccountID: s.AccountId}, validate(s.AccountId, ledger.Amount{})
	}
	return ledger.Scope{}, invalid("a limit needs a scope: global, a domain or an account")
}

func scopeProto(s ledger.Scope) *quotav1.Scope {
	switch {
	case s.AccountID != "":
		return &quotav1.Scope{Scope: &quotav1.Scope_AccountId{AccountId: s.AccountID}}
	case s.Domain != "":
		return &quotav1.Scope{Scope: &quotav1.Scope_Domain{Domain: s.Domain}}
	}
	return &quotav1.Scope{Scope: &quotav1.Scope_Global{Global: true}}
}

// ListLimits implements quotav1.QuotaAdminServiceServer.
func (a *Admin) ListLimits(ctx context.Context, _ *quotav1.ListLimitsRequest) (*quotav1.ListLimitsResponse, error) {
	limits, err := a.Service.Ledger.Limits(ctx)
	if err != nil {
		return nil, err
	}
	resp := &quotav1.ListLimitsResponse{}
	for _, l := range limits {
		resp.Entries = append(resp.Entries, &quotav1.ListLimitsResponse_Entry{
			Scope: scopeProto(l.Scope),
			Limit: &quotav1.Limit{Bytes: l.Limit.Bytes, Messages: l.Limit.Messages},
		})
	}
	return resp, nil
}

// ListUsage implements quotav1.QuotaAdminServiceServer. The page token is the last account id.
func (a *Admin) ListUsage(ctx context.Context, req *quotav1.ListUsageRequest) (*quotav1.ListUsageResponse, error) {
	size := int(min(req.GetPageSize(), maxPage))
	if size == 0 {
		size = maxPage
	}
	usages, err := a.Service.Ledger.ListUsage(ctx, req.GetPageToken(), size)
	if err != nil {
		return nil, err
	}
	resp := &quotav1.ListUsageResponse{}
	for _, u := range usages {
		resp.Usages = append(resp.Usages, usageProto(u))
	}
	if len(usages) == size {
		resp.NextPageToken = usages[size-1].AccountID
	}
	return resp, nil
}

// Reconcile implements quotav1.QuotaAdminServiceServer.
func (a *Admin) Reconcile(req *quotav1.ReconcileRequest, stream grpc.ServerStreamingServer[quotav1.ReconcileResponse]) error {
	ctx := stream.Context()
	send := func(r reconcile.Report) error {
		return stream.Send(&quotav1.ReconcileResponse{
			AccountId:      r.AccountID,
			UsedBytes:      r.Used.Bytes,
			UsedMessages:   r.Used.Messages,
			StoredBytes:    r.Stored.Bytes,
			StoredMessages: r.Stored.Messages,
			DriftBytes:     r.Drift.Bytes,
			DriftMessages:  r.Drift.Messages,
			Repaired:       r.Repaired,
		})
	}
	if id := req.GetAccountId(); id != "" {
		return a.Service.withAccount(ctx, func() error {
			report, err := a.Reconciler.Account(ctx, id, req.GetRepair())
			if err != nil {
				return err
			}
			return send(report)
		})
	}
	return a.Reconciler.All(ctx, req.GetRepair(), func(ctx context.Context) error { return ctx.Err() }, send)
}

// ForgetAccount implements quotav1.QuotaAdminServiceServer.
func (a *Admin) ForgetAccount(ctx context.Context, req *quotav1.ForgetAccountRequest) (*quotav1.ForgetAccountResponse, error) {
	if err := validate(req.GetAccountId(), ledger.Amount{}); err != nil {
		return nil, err
	}
	return &quotav1.ForgetAccountResponse{}, a.Service.Ledger.Forget(ctx, req.GetAccountId())
}
