package session

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// noError is answered with a tagged NO.
type noError struct {
	code string // response code without brackets, "" for none
	text string
}

func (e *noError) Error() string { return e.text }

func no(code, text string) error { return &noError{code, text} }

// badError is answered with a tagged BAD.
type badError struct{ text string }

func (e *badError) Error() string { return e.text }

func bad(text string) error { return &badError{text} }

// clientBug is bad for a command that reads well, and that no client sends which follows the protocol (RFC 5530 section 3).
func clientBug(text string) error { return &wire.SyntaxError{Code: codeClientBug, Text: text} }

// codeClientBug also comes with OK, where a client is served nevertheless.
const codeClientBug = "CLIENTBUG"

// byeError ends the session with an untagged BYE. The command in progress gets no tagged response.
type byeError struct {
	code string
	text string
}

func (e *byeError) Error() string { return e.text }

// brokenError means that the connection is of no use any more: nothing can be said.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return "connection broken: " + e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// answer is what a failed command comes to.
type answer struct {
	status     wire.Status
	code, text string
}

// reasonCodes are the response codes (RFC 5530, RFC 9051 section 7.1) for the reasons of failures.
var reasonCodes = map[rpcv1.Reason]string{
	rpcv1.Reason_REASON_OVER_QUOTA:            "OVERQUOTA",
	rpcv1.Reason_REASON_MESSAGE_TOO_LARGE:     "TOOBIG",
	rpcv1.Reason_REASON_MAILBOX_NOT_FOUND:     "NONEXISTENT",
	rpcv1.Reason_REASON_MAILBOX_EXISTS:        "ALREADYEXISTS",
	rpcv1.Reason_REASON_MAILBOX_NAME_INVALID:  "CANNOT",
	rpcv1.Reason_REASON_MAILBOX_PROTECTED:     "CANNOT",
	rpcv1.Reason_REASON_LIMIT:                 "LIMIT",
	rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND:     "UNAVAILABLE",
	rpcv1.Reason_REASON_ACCOUNT_DISABLED:      "CONTACTADMIN",
	rpcv1.Reason_REASON_AUTHENTICATION_FAILED: "AUTHENTICATIONFAILED",
	rpcv1.Reason_REASON_AUTHORIZATION_FAILED:  "AUTHORIZATIONFAILED",
	rpcv1.Reason_REASON_CREDENTIALS_EXPIRED:   "EXPIRED",
	rpcv1.Reason_REASON_THROTTLED:             "UNAVAILABLE",
	rpcv1.Reason_REASON_MECHANISM_UNSUPPORTED: "CANNOT",
	rpcv1.Reason_REASON_NOT_FOUND:             "NONEXISTENT",
	rpcv1.Reason_REASON_ALREADY_EXISTS:        "ALREADYEXISTS",
	rpcv1.Reason_REASON_INVALID:               "CANNOT",
	rpcv1.Reason_REASON_UNAVAILABLE:           "UNAVAILABLE",
	rpcv1.Reason_REASON_CORRUPT:               "CORRUPTION",
	rpcv1.Reason_REASON_CALLER_NOT_ALLOWED:    "SERVERBUG",
	rpcv1.Reason_REASON_UID_VALIDITY_CHANGED:  "NONEXISTENT",
	rpcv1.Reason_REASON_NOT_PERMITTED:         "NOPERM",
}

var deniedTexts = map[rpcv1.Reason]string{
	rpcv1.Reason_REASON_NOT_PERMITTED:     "the mailbox's owner does not let you do that",
	rpcv1.Reason_REASON_MAILBOX_NOT_FOUND: "mailbox does not exist",
}

const unavailableText = "the service is not available now, try again later"

// answerFor turns a failure into a tagged response. Errors of the client are told from ours by their
// type; failures of other services by their reason. bug is true for what should not have happened.
func answerFor(err error) (a answer, bug bool) {
	if e, ok := errors.AsType[*wire.SyntaxError](err); ok {
		return answer{wire.StatusBAD, e.Code, e.Text}, false
	}
	if e, ok := errors.AsType[*badError](err); ok {
		return answer{wire.StatusBAD, "", e.text}, false
	}
	if e, ok := errors.AsType[*wire.RefusedError](err); ok {
		return answer{wire.StatusNO, e.Code, e.Text}, false
	}
	if e, ok := errors.AsType[*noError](err); ok {
		return answer{wire.StatusNO, e.code, e.text}, false
	}
	switch reason := fault.Reason(err); {
	case errors.Is(err, view.ErrDead):
		return answer{wire.StatusNO, "NONEXISTENT", "mailbox does not exist"}, false
	case reason == rpcv1.Reason_REASON_NOT_PERMITTED, reason == rpcv1.Reason_REASON_MAILBOX_NOT_FOUND:
		// In the same words wherever it was found out, which else would tell what there is.
		return answer{wire.StatusNO, reasonCodes[reason], deniedTexts[reason]}, false
	case reason == rpcv1.Reason_REASON_SASL_MALFORMED:
		return answer{wire.StatusBAD, "", fault.Text(err)}, false
	case reason != rpcv1.Reason_REASON_UNSPECIFIED:
		code, ok := reasonCodes[reason]
		if !ok {
			code = "SERVERBUG"
		}
		return answer{wire.StatusNO, code, fault.Text(err)}, code == "SERVERBUG"
	}
	switch fault.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted, codes.ResourceExhausted,
		codes.Unimplemented: // by a service that is not yet of this version
		return answer{wire.StatusNO, "UNAVAILABLE", unavailableText}, false
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return answer{wire.StatusNO, "UNAVAILABLE", unavailableText}, false
	}
	return answer{wire.StatusNO, "SERVERBUG", "internal error, try again later"}, true
}

// fatal tells whether a session cannot go on after an error.
func fatal(err error) bool {
	if err == nil {
		return false
	}
	if _, ok := errors.AsType[*brokenError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*byeError](err); ok {
		return true
	}
	_, ok := errors.AsType[*wire.ByeError](err)
	return ok
}
