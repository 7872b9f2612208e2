package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

const full = rpcv1.Reason_REASON_OVER_QUOTA

func TestReadingErrors(t *testing.T) {
	local := New(codes.ResourceExhausted, full, "mailbox full")
	caused := Wrap(io.ErrUnexpectedEOF, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "try later")
	received := status.FromProto(local.GRPCStatus().Proto()).Err()
	for name, tc := range map[string]struct {
		err    error
		code   codes.Code
		reason rpcv1.Reason
		text   string
	}{
		"nil":              {nil, codes.OK, 0, ""},
		"local":            {local, codes.ResourceExhausted, full, "mailbox full"},
		"wrapped":          {fmt.Errorf("deliver: %w", local), codes.ResourceExhausted, full, "mailbox full"},
		"joined":           {errors.Join(io.EOF, local), codes.ResourceExhausted, full, "mailbox full"},
		"with cause":       {caused, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "try later"},
		"received":         {received, codes.ResourceExhausted, full, "mailbox full"},
		"received wrapped": {fmt.Errorf("call quota: %w", received), codes.ResourceExhausted, full, "mailbox full"},
		"foreign":          {io.EOF, codes.Unknown, 0, genericText},
		"foreign status":   {status.Error(codes.Unavailable, "dial tcp 10.0.0.1:99"), codes.Unavailable, 0, genericText},
		"cancelled":        {fmt.Errorf("x: %w", context.Canceled), codes.Canceled, 0, genericText},
		"deadline":         {context.DeadlineExceeded, codes.DeadlineExceeded, 0, genericText},
	} {
		t.Run(name, func(t *testing.T) {
			if Code(tc.err) != tc.code || Reason(tc.err) != tc.reason || Text(tc.err) != tc.text {
				t.Errorf("got %v %v %q", Code(tc.err), Reason(tc.err), Text(tc.err))
			}
			if Is(tc.err, full) != (tc.reason == full) {
				t.Error("Is is wrong")
			}
		})
	}
	if !errors.Is(caused, io.ErrUnexpectedEOF) || !strings.Contains(caused.Error(), "unexpected EOF") {
		t.Error("the cause is lost locally")
	}
}

func TestStatusLeaksNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		err     error
		code    codes.Code
		reason  rpcv1.Reason
		foreign bool
	}{
		"fault":             {fmt.Errorf("secret: %w", Wrap(errors.New("secret"), codes.NotFound, full, "no")), codes.NotFound, full, false},
		"relayed":           {fmt.Errorf("secret: %w", New(codes.NotFound, full, "no").GRPCStatus().Err()), codes.NotFound, full, false},
		"foreign":           {errors.New("secret"), codes.Internal, 0, true},
		"cancelled":         {context.Canceled, codes.Canceled, 0, false},
		"OK is no error":    {New(codes.OK, full, "no"), codes.Internal, 0, false},
		"wrapped cancelled": {fmt.Errorf("secret: %w", context.Canceled), codes.Canceled, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, foreign := Status(tc.err)
			if s.Code() != tc.code || foreign != tc.foreign || Reason(s.Err()) != tc.reason {
				t.Errorf("got %v, foreign %v", s, foreign)
			}
			if strings.Contains(s.String(), "secret") {
				t.Errorf("leaked: %v", s)
			}
		})
	}
}
