package cli

import (
	"fmt"

	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	"github.com/yubin-mail/yubin/services/yubin/internal/apply"
)

// popDeleteFlag is the policy of POP3 DELE as a flag: default, expunge, trash or keep.
type popDeleteFlag struct{ policy directoryv1.PopDelete }

// String implements pflag.Value.
func (f *popDeleteFlag) String() string { return apply.PopDeleteName(f.policy) }

// Set implements pflag.Value.
func (f *popDeleteFlag) Set(s string) error {
	policy, ok := apply.ParsePopDelete(s)
	if !ok {
		return fmt.Errorf("%q is none of default, expunge, trash, keep", s)
	}
	f.policy = policy
	return nil
}

// Type implements pflag.Value.
func (*popDeleteFlag) Type() string { return "policy" }

const popDeleteUsage = "what POP3 DELE does: expunge, trash (move there), keep (only leave the maildrop), or default"
