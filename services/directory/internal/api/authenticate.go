package api

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/xdg-go/scram"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/directory/internal/login"
	"github.com/yubin-mail/yubin/services/directory/internal/sasl"
)

// maxMessage is the largest SASL message in octets.
const maxMessage = 16 << 10

// protocols are those that people log in with.
var protocols = []string{"smtp", "pop3", "imap"}

// ListMechanisms implements DirectoryService.
func (d *Directory) ListMechanisms(context.Context, *directoryv1.ListMechanismsRequest) (*directoryv1.ListMechanismsResponse, error) {
	return &directoryv1.ListMechanismsResponse{Mechanisms: sasl.Names(d.o.Login)}, nil
}

// Authenticate implements DirectoryService.
func (d *Directory) Authenticate(stream directoryv1.DirectoryService_AuthenticateServer) error {
	ctx, cancel := context.WithTimeout(stream.Context(), d.o.ExchangeTimeout)
	defer cancel()
	request, err := receive(ctx, stream)
	if err != nil {
		return err
	}
	start := request.GetStart()
	var tried string
	client, mechanism, err := d.begin(start, &tried)
	var done *sasl.Success
	if err == nil {
		done, err = exchange(ctx, stream, mechanism, start.GetInitialResponse())
	}
	protocol, name := client.Protocol, strings.ToUpper(start.GetMechanism())
	if protocol == "" {
		protocol = "other"
	}
	if mechanism == nil { // a label has few values
		name = "other"
	}
	// Before the answer: who has it may be gone before Send returns, and has logged in nevertheless.
	d.logins.WithLabelValues(protocol, name, result(err)).Inc()
	if d.o.Audit != nil {
		d.o.Audit.InfoContext(ctx, "login", "event", "login", "account", tried, "client", start.GetClientIp(), "protocol", protocol,
			"mechanism", name, "tls", start.GetTls(), "result", result(err))
	}
	if err != nil {
		return err
	}
	return stream.Send(&directoryv1.AuthenticateResponse{Message: &directoryv1.AuthenticateResponse_Success_{
		Success: &directoryv1.AuthenticateResponse_Success{Account: accountProto(done.Account), Data: done.Data},
	}})
}

func (d *Directory) begin(start *directoryv1.AuthenticateRequest_Start, tried *string) (client login.Client, mechanism sasl.Mechanism, err error) {
	if start == nil {
		return client, nil, malformed("the exchange must begin with start")
	}
	if !slices.Contains(protocols, start.GetProtocol()) {
		return client, nil, malformed("protocol must be smtp, pop3 or imap")
	}
	client.Protocol, client.Tried = start.GetProtocol(), tried
	if start.GetClientIp() != "" {
		if client.IP, err = netip.ParseAddr(start.GetClientIp()); err != nil {
			return client, nil, malformed("client address is not an IP address")
		}
	}
	var bindings []scram.ChannelBinding
	for _, b := range start.GetChannelBindings() {
		bindings = append(bindings, scram.ChannelBinding{Type: scram.ChannelBindingType(b.GetType()), Data: b.GetData()})
	}
	mechanism, err = sasl.New(strings.ToUpper(start.GetMechanism()), d.o.Login, client, bindings)
	return client, mechanism, err
}

// exchange relays messages until the mechanism ends.
func exchange(ctx context.Context, stream directoryv1.DirectoryService_AuthenticateServer, mechanism sasl.Mechanism, response []byte) (*sasl.Success, error) {
	for {
		if len(response) > maxMessage {
			return nil, malformed("authentication message is too long")
		}
		challenge, done, err := mechanism.Next(ctx, response)
		if err != nil {
			return nil, err
		}
		if done != nil {
			return done, nil
		}
		if err := stream.Send(&directoryv1.AuthenticateResponse{Message: &directoryv1.AuthenticateResponse_Challenge{Challenge: challenge}}); err != nil {
			return nil, err
		}
		request, err := receive(ctx, stream)
		if failer, ok := mechanism.(sasl.Failer); ok && failer.Failed() != nil {
			return nil, failer.Failed() // also if the client has gone, or cancels
		}
		if err != nil {
			return nil, err
		}
		answer, ok := request.GetMessage().(*directoryv1.AuthenticateRequest_Response)
		if !ok {
			return nil, malformed("a response was expected")
		}
		if response = answer.Response; response == nil {
			response = []byte{} // it is not the initial one: there is one, and it is empty
		}
	}
}

// receive waits for a message no longer than ctx lasts. When the handler returns the stream ends, and with it a Recv that was left behind.
func receive(ctx context.Context, stream directoryv1.DirectoryService_AuthenticateServer) (*directoryv1.AuthenticateRequest, error) {
	type received struct {
		request *directoryv1.AuthenticateRequest
		err     error
	}
	got := make(chan received, 1)
	go func() {
		request, err := stream.Recv()
		got <- received{request, err}
	}()
	select {
	case r := <-got:
		if errors.Is(r.err, io.EOF) {
			return nil, malformed("authentication was cancelled")
		}
		return r.request, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// result is the label of a login's outcome.
func result(err error) string {
	if err == nil {
		return "ok"
	}
	switch fault.Reason(err) {
	case rpcv1.Reason_REASON_AUTHENTICATION_FAILED, rpcv1.Reason_REASON_AUTHORIZATION_FAILED, rpcv1.Reason_REASON_CREDENTIALS_EXPIRED:
		return "failed"
	case rpcv1.Reason_REASON_THROTTLED:
		return "throttled"
	case rpcv1.Reason_REASON_ACCOUNT_DISABLED:
		return "disabled"
	case rpcv1.Reason_REASON_SASL_MALFORMED:
		return "malformed"
	case rpcv1.Reason_REASON_MECHANISM_UNSUPPORTED:
		return "unsupported"
	}
	switch fault.Code(err) {
	case codes.Canceled, codes.DeadlineExceeded:
		return "abandoned"
	}
	return "error"
}

func malformed(text string) error {
	return fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_SASL_MALFORMED, text)
}
