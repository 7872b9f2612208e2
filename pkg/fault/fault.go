// Package fault is the one typed error that crosses gRPC: a code that says how
// transport and retries treat it, a reason that a gateway branches on, and a
// text that is safe to show to the person at the other end. Only a gateway
// turns it into protocol text.
package fault

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// Error is a failure with a reason. It implements error, Unwrap and GRPCStatus.
type Error struct {
	code   codes.Code
	reason rpcv1.Reason
	text   string
	cause  error
}

// New makes an error whose text is safe to show.
func New(code codes.Code, reason rpcv1.Reason, text string) *Error {
	return &Error{code: code, reason: reason, text: text}
}

// Newf is New with a formatted text.
func Newf(code codes.Code, reason rpcv1.Reason, format string, args ...any) *Error {
	return New(code, reason, fmt.Sprintf(format, args...))
}

// Wrap gives a cause a code, a reason and a text to show. The cause is in Error() and
// errors.Is finds it, but it does not cross the wire.
func Wrap(cause error, code codes.Code, reason rpcv1.Reason, text string) *Error {
	return &Error{code: code, reason: reason, text: text, cause: cause}
}

// Error has the text and the internal cause: it is for logs, not to be shown.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.text
	}
	return e.text + ": " + e.cause.Error()
}

// Unwrap gives the internal cause, or nil.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus is what crosses the wire: code, text and an rpcv1.ErrorDetail.
func (e *Error) GRPCStatus() *status.Status {
	plain := status.New(e.code, e.text)
	detailed, err := plain.WithDetails(&rpcv1.ErrorDetail{Reason: e.reason, Text: e.text})
	if err != nil { // an OK code cannot carry details; an OK error is a bug of the caller
		return status.New(codes.Internal, e.text)
	}
	return detailed
}

// genericText is shown for errors whose text was not written to be shown.
const genericText = "internal error, try again later"

// Reason gives the reason of an error, local, wrapped, or received over gRPC;
// REASON_UNSPECIFIED if it has none.
func Reason(err error) rpcv1.Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.reason
	}
	return detail(err).GetReason()
}

// Is tells whether an error has the reason.
func Is(err error, reason rpcv1.Reason) bool {
	return err != nil && Reason(err) == reason
}

// Code gives the gRPC code of an error; codes.OK for nil, Canceled and
// DeadlineExceeded for the errors of a context, Unknown for foreign errors.
func Code(err error) codes.Code {
	if err == nil {
		return codes.OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.GRPCStatus().Code()
	}
	if s, ok := status.FromError(err); ok {
		return s.Code()
	}
	switch {
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	}
	return codes.Unknown
}

// Text gives what may be shown to the person at the other end. Errors that are
// not of this package give a generic text.
func Text(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.text
	}
	if text := detail(err).GetText(); text != "" {
		return text
	}
	return genericText
}

// detail finds the ErrorDetail of a status in the chain of err, or nil.
func detail(err error) *rpcv1.ErrorDetail {
	s, ok := status.FromError(err)
	if !ok || err == nil {
		return nil
	}
	for _, d := range s.Details() {
		if d, ok := d.(*rpcv1.ErrorDetail); ok {
			return d
		}
	}
	return nil
}

// Status is what a server sends for an error of a handler: the status of an Error or of a
// gRPC status in its chain, the code of a context's error, and for a foreign error Internal
// with a generic text, so that nothing internal leaks. The second result is true for a foreign error.
func Status(err error) (s *status.Status, foreign bool) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.GRPCStatus(), false
	}
	if d, ok := status.FromError(err); ok {
		// A wrapped status takes the text of the wrapping; send the inner one alone.
		if inner, ok := errors.AsType[interface {
			error
			GRPCStatus() *status.Status
		}](err); ok {
			return inner.GRPCStatus(), false
		}
		return d, false
	}
	switch {
	case errors.Is(err, context.Canceled):
		return status.FromContextError(context.Canceled), false
	case errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(context.DeadlineExceeded), false
	}
	return New(codes.Internal, rpcv1.Reason_REASON_UNSPECIFIED, genericText).GRPCStatus(), true
}
