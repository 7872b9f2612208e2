package sasl

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// directory answers as a directory may: PLAIN compares with one message, LOGIN asks two questions, SCRAM-SHA-256 gives
// data with its success. The exchanges with the real one are in the tests of services/directory.
type directory struct {
	directoryv1.UnimplementedDirectoryServiceServer
}

var account = &directoryv1.Account{AccountId: "1", Address: "a@example.test"}

func (directory) Authenticate(stream directoryv1.DirectoryService_AuthenticateServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	switch {
	case start.GetClientIp() != "192.0.2.1" || !start.GetTls() || start.GetProtocol() != "imap":
		return errors.New("start did not arrive whole")
	case start.GetMechanism() == MechanismPlain && start.GetInitialResponse() == nil:
		return status.Error(codes.Unavailable, "connection lost")
	case start.GetMechanism() == MechanismPlain && string(start.GetInitialResponse()) != "\x00a\x00b":
		return fault.New(codes.Unauthenticated, rpcv1.Reason_REASON_AUTHENTICATION_FAILED, "wrong")
	case start.GetMechanism() == MechanismLogin:
		for _, question := range []string{"Username:", "Password:"} {
			if err := stream.Send(&directoryv1.AuthenticateResponse{Message: &directoryv1.AuthenticateResponse_Challenge{Challenge: []byte(question)}}); err != nil {
				return err
			}
			answer, err := stream.Recv()
			if err != nil {
				return err
			}
			if string(answer.GetResponse()) != "answer to "+question {
				return errors.New("wrong answer")
			}
		}
	}
	success := &directoryv1.AuthenticateResponse_Success{Account: account}
	if start.GetMechanism() == MechanismScramSHA256 {
		success.Data = []byte("v=signature")
	}
	return stream.Send(&directoryv1.AuthenticateResponse{Message: &directoryv1.AuthenticateResponse_Success_{Success: success}})
}

func connect(t *testing.T) directoryv1.DirectoryServiceClient {
	t.Helper()
	in := rpc.NewInproc(slog.New(slog.DiscardHandler), nil)
	directoryv1.RegisterDirectoryServiceServer(in, directory{})
	return directoryv1.NewDirectoryServiceClient(in.Client("imap"))
}

func with(mechanism string) *directoryv1.AuthenticateRequest_Start {
	return &directoryv1.AuthenticateRequest_Start{Mechanism: mechanism, ClientIp: "192.0.2.1", Tls: true, Protocol: "imap"}
}

func TestPlain(t *testing.T) {
	client := connect(t)
	got, err := Plain(t.Context(), client, "a", "b", with(""))
	if err != nil || got.GetAccountId() != "1" {
		t.Errorf("right password: %v, %v", got, err)
	}
	for _, tt := range []struct {
		user, password string
		want           rpcv1.Reason
	}{
		{"a", "c", rpcv1.Reason_REASON_AUTHENTICATION_FAILED}, {"a\x00", "b", rpcv1.Reason_REASON_SASL_MALFORMED}, {"", "a\x00b", rpcv1.Reason_REASON_SASL_MALFORMED},
	} {
		if _, err := Plain(t.Context(), client, tt.user, tt.password, with("")); !fault.Is(err, tt.want) {
			t.Errorf("%q %q: %v, want %v", tt.user, tt.password, err, tt.want)
		}
	}
}

func TestAuthenticate(t *testing.T) {
	client := connect(t)
	got, err := Authenticate(t.Context(), client, with("login"), func(challenge []byte) ([]byte, error) {
		return []byte("answer to " + string(challenge)), nil
	})
	if err != nil || got.GetAddress() != "a@example.test" {
		t.Errorf("login: %v, %v", got, err)
	}
	gone := errors.New("client has gone")
	if _, err := Authenticate(t.Context(), client, with("LOGIN"), func([]byte) ([]byte, error) { return nil, gone }); !errors.Is(err, gone) {
		t.Errorf("got %v, want the error of ask", err)
	}
	if _, err := Authenticate(t.Context(), client, with("GSSAPI"), nil); !fault.Is(err, rpcv1.Reason_REASON_MECHANISM_UNSUPPORTED) {
		t.Errorf("got %v, want MECHANISM_UNSUPPORTED", err)
	}
	if _, err := Authenticate(t.Context(), client, with("PLAIN"), nil); !fault.Is(err, rpcv1.Reason_REASON_UNAVAILABLE) {
		t.Errorf("got %v, want UNAVAILABLE", err)
	}
}

// Data that comes with success goes to the client as one more challenge.
func TestDataWithSuccess(t *testing.T) {
	client := connect(t)
	for _, tt := range []struct {
		response string
		ok       bool
	}{{"", true}, {"x", false}} {
		exchange, err := Start(t.Context(), client, with("SCRAM-SHA-256"))
		if err != nil {
			t.Fatal(err)
		}
		challenge, done, err := exchange.Next([]byte("first"))
		if string(challenge) != "v=signature" || done != nil || err != nil {
			t.Fatalf("challenge %q, %v, %v", challenge, done, err)
		}
		_, done, err = exchange.Next([]byte(tt.response))
		if (done.GetAccount().GetAccountId() == "1") != tt.ok || (err == nil) != tt.ok {
			t.Errorf("response %q: %v, %v", tt.response, done, err)
		}
		if _, done, err := exchange.Next(nil); done != nil || !fault.Is(err, rpcv1.Reason_REASON_SASL_MALFORMED) {
			t.Errorf("after the end: %v, %v", done, err)
		}
		exchange.Close()
	}
}

func TestExchangeIsBounded(t *testing.T) {
	exchange, err := Start(t.Context(), connect(t), with("LOGIN"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := exchange.Next(bytes.Repeat([]byte("a"), MaxMessage+1)); !fault.Is(err, rpcv1.Reason_REASON_SASL_MALFORMED) {
		t.Errorf("got %v, want SASL_MALFORMED", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Plain(ctx, connect(t), "a", "b", with("")); !fault.Is(err, rpcv1.Reason_REASON_UNAVAILABLE) {
		t.Errorf("got %v, want UNAVAILABLE", err)
	}
}
