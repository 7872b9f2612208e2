package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/pop3/internal/wire"
)

// command is an entry of the command table.
type command struct {
	states state
	// least and most number of arguments, separated by spaces; most may be rest.
	least, most int
	// run answers +OK itself. A failure it returns is answered with -ERR; any other error ends the session.
	run func(s *Session, ctx context.Context, args []string) error
}

// rest as the most arguments makes one of all that follows the command, spaces included.
const rest = -1

// commands is the command table. A command of an extension stands in the file of its capability.
var commands = map[string]command{
	"USER": {authorization, 1, rest, (*Session).cmdUser},
	"PASS": {authorization, 0, rest, (*Session).cmdPass},
	"AUTH": {authorization, 1, 2, (*Session).cmdAuth},
	"STLS": {authorization, 0, 0, (*Session).cmdStls},
	"UTF8": {authorization, 0, 0, (*Session).cmdUTF8},
	"CAPA": {authorization | transaction, 0, 0, (*Session).cmdCapa},
	"LANG": {authorization | transaction, 0, 1, (*Session).cmdLang},
	"QUIT": {authorization | transaction, 0, 0, (*Session).cmdQuit},
	"STAT": {transaction, 0, 0, (*Session).cmdStat},
	"LIST": {transaction, 0, 1, (*Session).cmdList},
	"UIDL": {transaction, 0, 1, (*Session).cmdUidl},
	"RETR": {transaction, 1, 1, (*Session).cmdRetr},
	"TOP":  {transaction, 2, 2, (*Session).cmdTop},
	"DELE": {transaction, 1, 1, (*Session).cmdDele},
	"RSET": {transaction, 0, 0, (*Session).cmdRset},
	"NOOP": {transaction, 0, 0, (*Session).cmdNoop},
}

// Response codes (RFC 2449 section 8, RFC 3206).
const (
	codeAuth      = "AUTH"
	codeInUse     = "IN-USE"
	codeDelay     = "LOGIN-DELAY"
	codeTemporary = "SYS/TEMP"
	codePermanent = "SYS/PERM"
)

// failure is what the client is told with -ERR.
type failure struct {
	code string // without brackets; empty: none
	text textID
	args []any
	// cause is for the log.
	cause error
	// closes the session.
	closes bool
}

// Error implements error.
func (f failure) Error() string {
	return fmt.Sprintf("-ERR [%s] %s: %v", f.code, fmt.Sprintf(languages[0].texts[f.text], f.args...), f.cause)
}

// fail answers with -ERR.
func (s *Session) fail(f failure) {
	_, _ = s.w.WriteString("-ERR ")
	if f.code != "" {
		_, _ = fmt.Fprintf(s.w, "[%s] ", f.code)
	}
	_, _ = fmt.Fprintf(s.w, s.language.texts[f.text], f.args...)
	if f.text == textUnavailable {
		_, _ = fmt.Fprintf(s.w, " (session %s)", s.id)
	}
	_, _ = s.w.WriteString("\r\n")
}

// unavailable is the failure of a backend.
func unavailable(err error) failure {
	switch fault.Reason(err) {
	case rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND:
		return failure{code: codePermanent, text: textNoMaildrop, cause: err}
	}
	return failure{code: codeTemporary, text: textUnavailable, cause: err}
}

// dispatch runs one command line.
func (s *Session) dispatch(ctx context.Context, line string) error {
	parsed, err := wire.Parse(line)
	if err != nil {
		return s.bad(failure{text: textSyntax})
	}
	cmd, known := commands[parsed.Name]
	if !known {
		return s.bad(failure{text: textUnknown})
	}
	begun := time.Now()
	ctx, span := s.server.tracer.Begin(ctx, "pop3", parsed.Name)
	span.String("session", s.id)
	err = s.run(ctx, cmd, parsed.Arg)
	span.End(err)
	result := "ok"
	f, failed := errors.AsType[failure](err)
	switch {
	case failed:
		result = "err"
		s.fail(f)
		s.logFailure(ctx, parsed.Name, f)
		if err = nil; f.closes {
			err = errClose
		}
	case err != nil && !errors.Is(err, errClose):
		result = "closed"
	}
	s.timed(ctx, parsed.Name, result, time.Since(begun))
	return err
}

// logFailure logs what the operator should know: that another service has failed.
func (s *Session) logFailure(ctx context.Context, command string, f failure) {
	if f.cause == nil {
		return
	}
	switch fault.Code(f.cause) {
	case codes.Unknown, codes.Internal, codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.DataLoss:
		s.log.WarnContext(ctx, "command failed", "command", command, "error", f.cause)
	default:
		s.log.DebugContext(ctx, "command failed", "command", command, "error", f.cause)
	}
}

func (s *Session) run(ctx context.Context, cmd command, arg string) error {
	if cmd.states&s.state == 0 {
		return failure{text: textWrongState}
	}
	args := []string{arg}
	if cmd.most != rest {
		args = strings.Fields(arg)
	}
	if len(args) < cmd.least || cmd.most != rest && len(args) > cmd.most || cmd.least > 0 && arg == "" {
		return failure{text: textArguments}
	}
	return cmd.run(s, ctx, args)
}

// number reads a message number or a count of lines.
func number(arg string) (int, error) {
	n, err := strconv.ParseUint(arg, 10, 31)
	if err != nil {
		return 0, failure{text: textArguments}
	}
	return int(n), nil
}
