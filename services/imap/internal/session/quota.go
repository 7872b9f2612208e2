package session

import (
	"context"
	"strings"
	"unicode"

	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
)

// quotaRoot is the one root of an account; others know it by its address.
const quotaRoot = "User quota"

// quotaUnit of STORAGE is 1,024 octets (RFC 9208 section 5.1).
const quotaUnit = 1024

// QUOTA: RFC 9208. Limits are set by the operator: quotaset.go.
func init() {
	register(extension{
		capabilities: []capability{
			{name: "QUOTA", when: whenLoggedIn},
			{name: "QUOTA=RES-STORAGE", when: whenLoggedIn},
			{name: "QUOTA=RES-MESSAGE", when: whenLoggedIn},
		},
		commands: []command{
			{name: "GETQUOTA", states: loggedIn, read: readGetQuota},
			{name: "GETQUOTAROOT", states: loggedIn, read: readGetQuotaRoot},
		},
	})
}

func readGetQuota(s *session) (job, error) {
	root, err := s.dec.AStringArg()
	return job{claim: claim{answers: answersQuota}, run: func(ctx context.Context, s *session) (reply, error) { return runGetQuota(ctx, s, root) }}, err
}

func runGetQuota(ctx context.Context, s *session, root string) (reply, error) {
	account, err := s.quotaAccount(ctx, root)
	if err != nil {
		return reply{}, err
	}
	usage, err := s.usage(ctx, account)
	if err != nil {
		return reply{}, err
	}
	if !limited(usage) {
		return reply{}, errNoQuotaRoot
	}
	s.sendQuota(root, usage)
	return reply{}, nil
}

func readGetQuotaRoot(s *session) (job, error) {
	name, err := s.dec.MailboxArg()
	return job{claim: claim{answers: answersQuota}, run: func(ctx context.Context, s *session) (reply, error) { return runGetQuotaRoot(ctx, s, name) }}, err
}

func runGetQuotaRoot(ctx context.Context, s *session, name string) (reply, error) {
	call, cancel := s.rpc(ctx)
	defer cancel()
	p, err := s.quotaPlace(call, name)
	if err != nil {
		return reply{}, err
	}
	usage, err := s.usage(call, p.account)
	if err != nil {
		return reply{}, err
	}
	s.enc.Star().Raw("QUOTAROOT ").Mailbox(p.shown())
	if !limited(usage) { // RFC 9208 section 4.2.2: a mailbox may have no root
		s.enc.CRLF()
		return reply{}, nil
	}
	root := quotaRoot
	if p.actor != nil {
		root = p.address
	}
	s.enc.SP().String(root).CRLF()
	s.sendQuota(root, usage)
	return reply{}, nil
}

// maxNewName is the most octets of the name of a mailbox that may be made one day, as storage has it.
const maxNewName = 1000

// quotaPlace finds out whose quota a mailbox counts for. One's own need not exist yet (RFC 9208 section 4.1.2); of somebody else's one must be able to see how
// much is in it (section 6).
func (s *session) quotaPlace(ctx context.Context, name string) (place, error) {
	p, err := s.locate(ctx, name)
	switch {
	case err != nil:
		return p, err
	case p.actor == nil && len(name) <= maxNewName && !strings.ContainsFunc(name, unicode.IsControl):
		return p, nil
	}
	m, err := s.mailboxAt(ctx, p)
	if err == nil {
		err = m.need(rightRead)
	}
	return p, err
}

var errNoQuotaRoot = no("NONEXISTENT", "no such quota root")

func (s *session) usage(ctx context.Context, account string) (*quotav1.Usage, error) {
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	answer, err := s.Quota.GetUsage(ctx, &quotav1.GetUsageRequest{AccountId: account})
	return answer.GetUsage(), err
}

// limited tells whether there is a quota root: an account without limits has none.
func limited(usage *quotav1.Usage) bool {
	return usage.GetLimitBytes() >= 0 || usage.GetLimitMessages() >= 0
}

// sendQuota shows the resources that have a limit. Usage is rounded up and the limit down, so
// that what a client computes as free does fit.
func (s *session) sendQuota(root string, usage *quotav1.Usage) {
	s.enc.Star().Raw("QUOTA ").String(root).SP().Open()
	bytes := usage.GetLimitBytes() >= 0
	if bytes {
		s.enc.Raw("STORAGE ").Num(kib(usage.GetUsedBytes() + quotaUnit - 1)).SP().Num(kib(usage.GetLimitBytes()))
	}
	if usage.GetLimitMessages() >= 0 {
		if bytes {
			s.enc.SP()
		}
		s.enc.Raw("MESSAGE ").Num(atLeast0(usage.GetUsedMessages())).SP().Num(atLeast0(usage.GetLimitMessages()))
	}
	s.enc.Close().CRLF()
}

func kib(octets int64) uint64 { return atLeast0(octets) / quotaUnit }

func atLeast0(n int64) uint64 { return uint64(max(n, 0)) }
