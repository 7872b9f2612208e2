package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sasl"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/pop3/internal/wire"
)

// capaSASL is RFC 5034 section 3.
func (s *Session) capaSASL() string {
	if s.state != authorization {
		return ""
	}
	return "SASL " + strings.Join(s.mechanisms(), " ")
}

func (s *Session) mechanisms() []string { return s.server.offer.Mechanisms(s.plaintext(), s.bindings) }

// cmdAuth is RFC 5034 section 4.
func (s *Session) cmdAuth(ctx context.Context, args []string) error {
	mechanism := strings.ToUpper(args[0])
	if !slices.Contains(s.mechanisms(), mechanism) {
		if slices.Contains(s.server.offer.Mechanisms(true, nil), mechanism) {
			return failure{code: codeAuth, text: textNeedTLS}
		}
		return failure{text: textMechanism}
	}
	var initial []byte
	if len(args) == 2 {
		var err error
		if initial, err = sasl.DecodeInitial(args[1]); err != nil {
			return s.loginFailed(err)
		}
	}
	account, err := sasl.Authenticate(ctx, s.server.clients.Directory, s.authStart(mechanism, initial), s.ask)
	return s.login(ctx, mechanism, account, err)
}

// ask sends a challenge and reads the response.
func (s *Session) ask(challenge []byte) ([]byte, error) {
	if _, err := s.w.WriteString("+ " + sasl.Encode(challenge) + "\r\n"); err != nil {
		return nil, err
	}
	line, err := s.next(time.Now().Add(min(sasl.Timeout, s.server.config.IdleTimeout)), sasl.MaxLine+len("\r\n"))
	if errors.Is(err, wire.ErrTooLong) {
		return nil, fault.Wrap(err, codes.InvalidArgument, rpcv1.Reason_REASON_SASL_MALFORMED, "authentication message is too long")
	}
	if err != nil {
		return nil, err
	}
	return sasl.Decode(line)
}
