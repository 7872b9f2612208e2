// Package sasl is the gateways' side of a login: it relays the messages of a SASL exchange (RFC 4422) between a
// client's connection and the directory, which alone sees passwords' hashes, and holds what SMTP AUTH (RFC 4954), POP3
// AUTH (RFC 5034) and IMAP AUTHENTICATE (RFC 9051 section 6.2.2) have in common.
package sasl

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

const (
	// MaxMessage is the largest SASL message in octets, before base64.
	MaxMessage = 16 << 10
	// Timeout bounds one exchange, the client's thinking included.
	Timeout = 2 * time.Minute
)

// known tells whether a mechanism is one that gateways relay.
func known(mechanism string) bool { return slices.Contains(Known(), mechanism) }

// Exchange is one SASL exchange in progress. It is for one goroutine.
type Exchange struct {
	ctx    context.Context
	cancel context.CancelFunc
	client directoryv1.DirectoryServiceClient
	start  *directoryv1.AuthenticateRequest_Start
	stream directoryv1.DirectoryService_AuthenticateClient
	// success was received, and its data sent as a challenge that awaits an empty response.
	success *directoryv1.AuthenticateResponse_Success
	ended   bool
}

// Start begins an exchange; Close must end it. The mechanism's name may be in any case. The initial response may be
// in start or be given to the first Next. It fails with MECHANISM_UNSUPPORTED for a mechanism not in Known.
func Start(ctx context.Context, client directoryv1.DirectoryServiceClient, start *directoryv1.AuthenticateRequest_Start) (*Exchange, error) {
	mechanism := strings.ToUpper(start.GetMechanism())
	if !known(mechanism) {
		return nil, fault.New(codes.Unimplemented, rpcv1.Reason_REASON_MECHANISM_UNSUPPORTED, "authentication mechanism is not supported")
	}
	e := &Exchange{client: client, start: &directoryv1.AuthenticateRequest_Start{
		Mechanism:       mechanism,
		InitialResponse: start.GetInitialResponse(),
		ClientIp:        start.GetClientIp(),
		Tls:             start.GetTls(),
		Protocol:        start.GetProtocol(),
		ChannelBindings: start.GetChannelBindings(),
	}}
	e.ctx, e.cancel = context.WithTimeout(ctx, Timeout)
	return e, nil
}

// Next takes the client's response and gives either the next challenge (which may be empty), or success. The first
// response is the initial one: nil if there is none, empty but not nil for an empty one. Data that comes with success (SCRAM's server
// signature) is given as one more challenge, to which the client responds with an empty message, as none of SMTP, POP3 and
// IMAP can carry it with the success. Every error has a reason: one of those of DirectoryService.Authenticate, or UNAVAILABLE
// where the directory cannot be reached. After an error or success the exchange has ended.
func (e *Exchange) Next(response []byte) (challenge []byte, done *directoryv1.AuthenticateResponse_Success, err error) {
	challenge, done, err = e.next(response)
	if err != nil || done != nil {
		e.Close()
	}
	return challenge, done, err
}

func (e *Exchange) next(response []byte) ([]byte, *directoryv1.AuthenticateResponse_Success, error) {
	switch {
	case e.ended:
		return nil, nil, malformed("authentication exchange has ended")
	case len(response) > MaxMessage:
		return nil, nil, malformed("authentication message is too long")
	case e.success != nil:
		if len(response) > 0 {
			return nil, nil, malformed("an empty authentication response was expected")
		}
		return nil, e.success, nil
	}
	answer, err := e.relay(response)
	if err != nil {
		return nil, nil, reasoned(err)
	}
	success := answer.GetSuccess()
	if success == nil {
		return answer.GetChallenge(), nil, nil
	}
	if success.Data != nil {
		e.success = success
		return success.GetData(), nil, nil
	}
	return nil, success, nil
}

// relay sends a response and waits for the directory's answer.
func (e *Exchange) relay(response []byte) (*directoryv1.AuthenticateResponse, error) {
	request := &directoryv1.AuthenticateRequest{Message: &directoryv1.AuthenticateRequest_Response{Response: response}}
	if e.stream == nil {
		stream, err := e.client.Authenticate(e.ctx)
		if err != nil {
			return nil, err
		}
		e.stream = stream
		if response != nil {
			e.start.InitialResponse = response
		}
		request.Message = &directoryv1.AuthenticateRequest_Start_{Start: e.start}
	}
	if err := e.stream.Send(request); err != nil && !errors.Is(err, io.EOF) { // after EOF Recv tells why
		return nil, err
	}
	return e.stream.Recv()
}

// Close ends the exchange, whether it is complete or not. It may be called again.
func (e *Exchange) Close() {
	e.ended = true
	e.cancel()
}

// Authenticate runs a whole exchange. ask sends a challenge to the client and gives its response; its error ends the exchange and is returned.
func Authenticate(ctx context.Context, client directoryv1.DirectoryServiceClient, start *directoryv1.AuthenticateRequest_Start,
	ask func(challenge []byte) (response []byte, err error),
) (*directoryv1.Account, error) {
	exchange, err := Start(ctx, client, start)
	if err != nil {
		return nil, err
	}
	defer exchange.Close()
	var response []byte // the first is in start
	for {
		challenge, done, err := exchange.Next(response)
		if err != nil {
			return nil, err
		}
		if done != nil {
			return done.GetAccount(), nil
		}
		if response, err = ask(challenge); err != nil {
			return nil, err
		}
	}
}

// Plain checks a user's name and password, as the commands USER and PASS of POP3 and LOGIN of IMAP give them. Mechanism
// and initial response of start are ignored.
func Plain(ctx context.Context, client directoryv1.DirectoryServiceClient, user, password string,
	start *directoryv1.AuthenticateRequest_Start,
) (*directoryv1.Account, error) {
	if strings.ContainsRune(user, 0) || strings.ContainsRune(password, 0) {
		return nil, malformed("NUL in user name or password")
	}
	return Authenticate(ctx, client, &directoryv1.AuthenticateRequest_Start{
		Mechanism:       MechanismPlain,
		InitialResponse: []byte("\x00" + user + "\x00" + password), // RFC 4616 section 2
		ClientIp:        start.GetClientIp(),
		Tls:             start.GetTls(),
		Protocol:        start.GetProtocol(),
	}, func([]byte) ([]byte, error) {
		return nil, malformed("unexpected challenge")
	})
}

// reasoned gives every error a reason.
func reasoned(err error) error {
	if fault.Reason(err) != rpcv1.Reason_REASON_UNSPECIFIED {
		return err
	}
	return fault.Wrap(err, codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "authentication is not possible now, try again later")
}

func malformed(text string) *fault.Error {
	return fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_SASL_MALFORMED, text)
}
