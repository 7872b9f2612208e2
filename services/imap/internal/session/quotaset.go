package session

import (
	"context"
	"slices"
	"strings"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
)

// QUOTASET: RFC 9208 section 4.1.3, for the operator. Besides their own root, operators know one of each account: its address.
func init() {
	register(extension{
		capabilities: []capability{{name: "QUOTASET", when: (*session).operator}},
		commands:     []command{{name: "SETQUOTA", states: loggedIn, run: runSetQuota}},
	})
}

// operator tells whether the account may set the limits of all.
func (s *session) operator() bool {
	return s.state&loggedIn != 0 && slices.Contains(s.Operators, s.account.GetAddress())
}

// maxQuotaLimit is the highest limit that can be set, in octets or messages.
const maxQuotaLimit = 1 << 60

func runSetQuota(ctx context.Context, s *session) (reply, error) {
	args, err := s.dec.SetQuotaArgs()
	if err != nil {
		return reply{}, err
	}
	if !s.operator() {
		return reply{}, no("NOPERM", "quota is set by the operator")
	}
	// What is not named is not limited by this root any more, so that the domain's limits hold, or those of all.
	limit := &quotav1.Limit{}
	for _, l := range args.Limits {
		n := int64(l.Limit)
		switch l.Resource {
		case "STORAGE":
			if l.Limit > maxQuotaLimit/quotaUnit {
				return reply{}, no("LIMIT", "the limit is too high")
			}
			n *= quotaUnit
			limit.Bytes = &n
		case "MESSAGE":
			if l.Limit > maxQuotaLimit {
				return reply{}, no("LIMIT", "the limit is too high")
			}
			limit.Messages = &n
		default:
			return reply{}, no("CANNOT", "only STORAGE and MESSAGE are limited")
		}
	}
	account, err := s.quotaAccount(ctx, args.Root)
	if err != nil {
		return reply{}, err
	}
	call, cancel := s.rpc(ctx)
	defer cancel()
	scope := &quotav1.Scope{Scope: &quotav1.Scope_AccountId{AccountId: account}}
	if _, err := s.QuotaAdmin.SetLimit(call, &quotav1.SetLimitRequest{Scope: scope, Limit: limit}); err != nil {
		return reply{}, err
	}
	s.Log.Info("quota set by SETQUOTA", "session", s.id, "operator_id", s.accountID(), "account_id", account)
	usage, err := s.usage(ctx, account)
	if err != nil {
		return reply{}, err
	}
	if limited(usage) {
		s.sendQuota(args.Root, usage)
	}
	return reply{}, nil
}

// quotaAccount gives the id of the account that a quota root is of.
func (s *session) quotaAccount(ctx context.Context, root string) (string, error) {
	if root == quotaRoot {
		return s.accountID(), nil
	}
	if !s.operator() || !strings.Contains(root, "@") {
		return "", errNoQuotaRoot
	}
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	answer, err := s.Directory.GetAccount(ctx, &directoryv1.GetAccountRequest{Key: &directoryv1.GetAccountRequest_Address{Address: root}})
	if noAccount(err) {
		return "", errNoQuotaRoot
	}
	return answer.GetAccount().GetAccountId(), err
}
