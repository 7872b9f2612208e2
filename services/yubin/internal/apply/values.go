// Package apply brings a system to the state that a file describes: domains, accounts, aliases and limits.
package apply

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/yubin-mail/yubin/pkg/config"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
)

// Unlimited is the limit "none" as it stands in the quota service's messages.
const Unlimited = -1

var popDeletes = map[string]directoryv1.PopDelete{
	"default": directoryv1.PopDelete_POP_DELETE_UNSPECIFIED,
	"expunge": directoryv1.PopDelete_POP_DELETE_EXPUNGE,
	"trash":   directoryv1.PopDelete_POP_DELETE_TRASH,
	"keep":    directoryv1.PopDelete_POP_DELETE_KEEP,
}

// ParsePopDelete reads default, expunge, trash or keep.
func ParsePopDelete(s string) (directoryv1.PopDelete, bool) {
	p, ok := popDeletes[strings.ToLower(s)]
	return p, ok
}

// PopDeleteName is the inverse of ParsePopDelete.
func PopDeleteName(p directoryv1.PopDelete) string {
	for name, policy := range popDeletes {
		if policy == p {
			return name
		}
	}
	return p.String()
}

// ParseLimit reads a limit: a size such as 5GB, or a plain number of messages; "none" (Unlimited); or "default" (nil).
func ParseLimit(s string, size bool) (*int64, error) {
	var n int64
	switch {
	case strings.EqualFold(s, "default"):
		return nil, nil //nolint:nilnil // absent is a value here
	case strings.EqualFold(s, "none"):
		n = Unlimited
	case size:
		parsed, err := config.ParseSize(s)
		if err != nil {
			return nil, fmt.Errorf(`%q is no limit: write a size such as 500MB or 5GB, "none" or "default"`, s)
		}
		n = int64(parsed)
	default:
		parsed, err := strconv.ParseInt(s, 10, 64)
		if err != nil || parsed < 0 {
			return nil, fmt.Errorf(`%q is no number of messages: write a whole number, "none" or "default"`, s)
		}
		n = parsed
	}
	return &n, nil
}

// FormatLimit is the inverse of ParseLimit.
func FormatLimit(n *int64, size bool) string {
	switch {
	case n == nil:
		return "default"
	case *n < 0:
		return "none"
	case size:
		return config.Size(*n).String()
	}
	return strconv.FormatInt(*n, 10)
}

// ScopeKey makes scopes comparable.
func ScopeKey(s *quotav1.Scope) string {
	switch s := s.GetScope().(type) {
	case *quotav1.Scope_Domain:
		return "domain " + s.Domain
	case *quotav1.Scope_AccountId:
		return "account " + s.AccountId
	}
	return "global"
}
