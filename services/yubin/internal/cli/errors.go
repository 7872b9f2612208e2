package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// usageError is a command that was called wrongly.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd: cmd, err: fmt.Errorf(format, args...)}
}

// hintError is an error with advice.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

func (a *app) printError(ctx context.Context, err error) {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || fault.Code(err) == codes.Canceled) {
		err = &hintError{err: errors.New("interrupted"), hint: hintOf(err)}
	}
	lines := strings.Split(describe(err), "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	fmt.Fprintf(a.errOut, "yubin: %s\n", strings.Join(lines, "\n"))
	if wrong := (*usageError)(nil); errors.As(err, &wrong) {
		fmt.Fprintf(a.errOut, "Usage: %s\nSee %s --help.\n", wrong.cmd.UseLine(), wrong.cmd.CommandPath())
		return
	}
	if !a.running {
		fmt.Fprintln(a.errOut, "See yubin --help.")
	}
	if hint := hintOf(err); hint != "" {
		fmt.Fprintln(a.errOut, hint)
	}
}

// describe gives the text of an error, in which what came over gRPC is put as its sender meant it to be shown.
func describe(err error) string {
	text := err.Error()
	remote, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err)
	if !ok {
		return text
	}
	var shown string
	st := remote.GRPCStatus()
	switch {
	case fault.Reason(remote) != rpcv1.Reason_REASON_UNSPECIFIED:
		shown = fault.Text(remote)
	case st.Code() == codes.DeadlineExceeded:
		shown = "no answer in time"
	case st.Code() == codes.Unavailable:
		_, why, found := strings.Cut(st.Message(), "transport: ")
		if !found {
			why = st.Message()
		}
		shown = "cannot reach the service: " + strings.TrimSuffix(why, `"`)
	default:
		shown = st.Message()
	}
	return strings.Replace(text, remote.Error(), shown, 1)
}

// hintOf says what can be done about an error, or nothing.
func hintOf(err error) string {
	if hint := (*hintError)(nil); errors.As(err, &hint) && hint.hint != "" {
		return hint.hint
	}
	switch fault.Reason(err) {
	case rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND:
		return `"yubin account list" shows the accounts.`
	case rpcv1.Reason_REASON_OVER_QUOTA:
		return `"yubin quota show ADDRESS" shows the usage, "yubin quota set ADDRESS SIZE" changes the limit.`
	case rpcv1.Reason_REASON_MAILBOX_NOT_FOUND:
		return `"yubin mailbox list ADDRESS" shows the mailboxes.`
	case rpcv1.Reason_REASON_CALLER_NOT_ALLOWED:
		return `The certificate in --rpc-cert must be that of the service "admin".`
	case rpcv1.Reason_REASON_UNAVAILABLE:
		return "Nothing was changed; try again later."
	}
	switch fault.Code(err) {
	case codes.Unavailable:
		return "Does the system still run? Are the address and the certificates right?"
	case codes.DeadlineExceeded:
		return "A longer --timeout may help. The change may have been made: look before you repeat it."
	}
	return ""
}
