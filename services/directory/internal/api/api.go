// Package api answers the directory's gRPC methods.
package api

import (
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/directory/internal/login"
	"github.com/yubin-mail/yubin/services/directory/internal/password"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
)

// Options of New.
type Options struct {
	Log        *slog.Logger
	Audit      *slog.Logger          // may be nil
	Registerer prometheus.Registerer // may be nil
	Now        func() time.Time
	Store      *store.Store
	Hasher     *password.Hasher
	Keys       login.Keys
	Login      *login.Login
	// Postmaster takes mail to postmaster where a domain has none; its zero value leaves that mail to catch-alls.
	Postmaster address.Address
	// ExchangeTimeout bounds a SASL exchange.
	ExchangeTimeout time.Duration
}

// Directory implements DirectoryService.
type Directory struct {
	directoryv1.UnimplementedDirectoryServiceServer
	o        Options
	logins   *prometheus.CounterVec
	resolves *prometheus.CounterVec
}

// Admin implements DirectoryAdminService.
type Admin struct {
	directoryv1.UnimplementedDirectoryAdminServiceServer
	o Options
}

// Register registers both services.
func Register(r grpc.ServiceRegistrar, o Options) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return telemetry.Register(o.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "yubin", Subsystem: "directory", Name: name, Help: help,
		}, labels))
	}
	logins := counter("logins_total", "Logins by protocol, mechanism and result.", "protocol", "mechanism", "result")
	for _, protocol := range protocols { // so that the first is an increase
		logins.WithLabelValues(protocol, "PLAIN", "ok")
		logins.WithLabelValues(protocol, "PLAIN", "failed")
	}
	directoryv1.RegisterDirectoryServiceServer(r, &Directory{
		o:        o,
		logins:   logins,
		resolves: counter("resolves_total", "Addresses resolved, by status.", "status"),
	})
	directoryv1.RegisterDirectoryAdminServiceServer(r, &Admin{o: o})
}

func invalid(format string, args ...any) error {
	return fault.Newf(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, format, args...)
}

// parse reads an address that must have a domain. field says which it is.
func parse(field, text string) (address.Address, error) {
	a, err := address.Parse(text)
	switch {
	case err != nil:
		return a, invalid("%s: %v", field, err)
	case a.Domain == "" || a.Domain[0] == '[':
		return a, invalid("%s: the address needs a domain", field)
	}
	return a, nil
}

func parseDomain(field, text string) (string, error) {
	name, err := address.ParseDomain(text)
	if err != nil {
		return "", invalid("%s: %v", field, err)
	}
	return name, nil
}

// translate gives the errors of the store that callers may cause a reason. what is the object of the call, such as "the alias".
func translate(err error, what string) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fault.Wrap(err, codes.NotFound, rpcv1.Reason_REASON_NOT_FOUND, what+" does not exist")
	case errors.Is(err, store.ErrNoDomain):
		return fault.Wrap(err, codes.NotFound, rpcv1.Reason_REASON_NOT_FOUND, what+": its domain, or that of an alias's target, is not one of this system")
	case errors.Is(err, store.ErrExists):
		return fault.Wrap(err, codes.AlreadyExists, rpcv1.Reason_REASON_ALREADY_EXISTS, what+": an account or alias with this address exists already")
	case errors.Is(err, store.ErrNotEmpty):
		return fault.Wrap(err, codes.FailedPrecondition, rpcv1.Reason_REASON_INVALID, what+" still has accounts or aliases; delete them first")
	case errors.Is(err, password.ErrBusy):
		return fault.Wrap(err, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "too many passwords are being checked, try again later")
	}
	return err
}

// translateAccount is translate for calls whose object is an account.
func translateAccount(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fault.Wrap(err, codes.NotFound, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND, "the account does not exist")
	}
	return translate(err, "the account")
}

func accountProto(a store.Account) *directoryv1.Account {
	effective := directoryv1.PopDelete_POP_DELETE_EXPUNGE
	for _, p := range []directoryv1.PopDelete{a.PopDelete, a.DomainPopDelete} {
		if p != directoryv1.PopDelete_POP_DELETE_UNSPECIFIED {
			effective = p
			break
		}
	}
	return &directoryv1.Account{
		AccountId:          a.ID,
		Address:            a.Address.String(),
		DisplayName:        a.DisplayName,
		Disabled:           a.Disabled,
		PopDelete:          a.PopDelete,
		EffectivePopDelete: effective,
		Domain:             a.Address.Domain,
		CreatedUnix:        a.Created,
	}
}
