// Package sasl is the server's side of SASL mechanisms (RFC 4422). Each is one file; to offer one more, add it to New.
package sasl

import (
	"context"
	"slices"

	"github.com/xdg-go/scram"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/directory/internal/login"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
)

// Mechanism is one exchange in progress.
type Mechanism interface {
	// Next takes the client's response and gives the next challenge, or success. The first response is the
	// initial one, nil if there is none. After an error or success the exchange has ended.
	Next(ctx context.Context, response []byte) (challenge []byte, done *Success, err error)
}

// Failer is a Mechanism that tells its client of a failure in a challenge of its own.
type Failer interface {
	// Failed gives the failure, nil if there is none: the exchange has failed, though the client may never answer.
	Failed() error
}

// Success ends an exchange.
type Success struct {
	Account store.Account
	Data    []byte // additional data for the client; nil if the mechanism has none
}

// Names lists the mechanisms that New knows, the strongest first.
func Names(l *login.Login) []string {
	var names []string
	if l.OffersBinding() {
		names = append(names, "SCRAM-SHA-256-PLUS")
	}
	if l.OffersScram() {
		names = append(names, "SCRAM-SHA-256")
	}
	if l.Tokens() != nil {
		names = append(names, "OAUTHBEARER", "XOAUTH2")
	}
	return append(names, "PLAIN", "LOGIN")
}

// New begins an exchange with the mechanism of an IANA name in upper case, on a connection with the channel bindings. It fails with the reason
// MECHANISM_UNSUPPORTED.
func New(mechanism string, l *login.Login, client login.Client, bindings []scram.ChannelBinding) (Mechanism, error) {
	if !l.OffersBinding() {
		bindings = nil
	}
	if slices.Contains(Names(l), mechanism) {
		switch mechanism {
		case "PLAIN":
			return &plain{login: l, client: client}, nil
		case "LOGIN":
			return &loginMechanism{login: l, client: client}, nil
		case "OAUTHBEARER":
			return &bearer{login: l, client: client, dialect: oauthBearer}, nil
		case "XOAUTH2":
			return &bearer{login: l, client: client, dialect: xoauth2}, nil
		case "SCRAM-SHA-256":
			return &scramSHA256{login: l, client: client, bindings: bindings}, nil
		case "SCRAM-SHA-256-PLUS":
			if len(bindings) > 0 {
				return &scramSHA256{login: l, client: client, bindings: bindings, plus: true}, nil
			}
		}
	}
	return nil, fault.New(codes.Unimplemented, rpcv1.Reason_REASON_MECHANISM_UNSUPPORTED, "authentication mechanism is not supported")
}

// oneself tells whether somebody asks to act as themselves: nobody may act as somebody else.
func oneself(authzid, authcid string) bool {
	if authzid == "" || authzid == authcid {
		return true
	}
	as, err := address.Parse(authzid)
	who, whoErr := address.Parse(authcid)
	return err == nil && whoErr == nil && as == who
}

func malformed(text string) error {
	return fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_SASL_MALFORMED, text)
}
