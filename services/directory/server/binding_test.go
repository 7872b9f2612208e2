package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sasl"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// bound runs a login by SCRAM on a connection that has the bindings, with what a client says about its own.
func (s *system) bound(mechanism string, c *scram.ClientConversation, has ...*directoryv1.ChannelBinding) rpcv1.Reason {
	s.t.Helper()
	first, err := c.Step("")
	if err != nil {
		s.t.Fatal(err)
	}
	begin := from(home, "imap")
	begin.Mechanism, begin.InitialResponse, begin.ChannelBindings = mechanism, []byte(first), has
	account, err := sasl.Authenticate(s.t.Context(), s.gateway, begin, func(challenge []byte) ([]byte, error) {
		response, err := c.Step(string(challenge))
		return []byte(response), err
	})
	reason := s.reason(account, err)
	if reason == ok && (!c.Valid() || account.GetAddress() != alice) {
		s.t.Error("logged in, but the client has not verified the server, or is somebody else")
	}
	return reason
}

func TestChannelBinding(t *testing.T) {
	s := start(t, "--directory-scram-plus")
	exporter := &directoryv1.ChannelBinding{Type: "tls-exporter", Data: []byte("of the connection")}
	endPoint := &directoryv1.ChannelBinding{Type: "tls-server-end-point", Data: []byte("of the certificate")}
	const plus, base = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"
	client := func(password string) *scram.Client {
		t.Helper()
		c, err := scram.SHA256.NewClient(alice, password, "")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	binding := func(b *directoryv1.ChannelBinding) scram.ChannelBinding {
		return scram.ChannelBinding{Type: scram.ChannelBindingType(b.GetType()), Data: b.GetData()}
	}
	uses := func(b *directoryv1.ChannelBinding) *scram.ClientConversation {
		return client(secret).NewConversationWithChannelBinding(binding(b))
	}
	between := &directoryv1.ChannelBinding{Type: "tls-exporter", Data: []byte("of another connection")}
	both := []*directoryv1.ChannelBinding{exporter, endPoint}
	for _, tt := range []struct {
		name      string
		mechanism string
		client    *scram.ClientConversation
		has       []*directoryv1.ChannelBinding
		want      rpcv1.Reason
	}{
		{"tls-exporter", plus, uses(exporter), both, ok},
		{"tls-server-end-point", plus, uses(endPoint), both, ok},
		{"name in small letters", "scram-sha-256-plus", uses(exporter), both, ok},
		{"somebody between", plus, uses(between), both, failed},
		{"data of another type", plus, uses(&directoryv1.ChannelBinding{Type: "tls-server-end-point", Data: exporter.GetData()}), both, failed},
		{"type that the connection has not", plus, uses(endPoint), both[:1], failed},
		{"wrong password", plus, client("wrong").NewConversationWithChannelBinding(binding(exporter)), both, failed},
		{"not offered", plus, uses(exporter), nil, unsupported},
		{"binding under the plain name", base, uses(exporter), both, malformed},
		{"none under the name with it", plus, client(secret).NewConversation(), both, malformed},
		{"none", base, client(secret).NewConversation(), both, ok},
		// A client that could bind but was not offered it: somebody has taken it from the list.
		{"offer hidden", base, client(secret).NewConversationAdvertisingChannelBinding(), both, failed},
		{"offer hidden, name kept", plus, client(secret).NewConversationAdvertisingChannelBinding(), both, failed},
		{"no offer", base, client(secret).NewConversationAdvertisingChannelBinding(), nil, ok},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := s.bound(tt.mechanism, tt.client, tt.has...); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			s.clock.advance(time.Hour) // so that failures do not add up
		})
	}
}

// App passwords bind too, and guesses that bind are slowed as others.
func TestChannelBindingGuesses(t *testing.T) {
	s := start(t, "--directory-scram-plus")
	exporter := &directoryv1.ChannelBinding{Type: "tls-exporter", Data: []byte("of the connection")}
	attempt := func(password string) rpcv1.Reason {
		t.Helper()
		c, err := scram.SHA256.NewClient(alice, password, "")
		if err != nil {
			t.Fatal(err)
		}
		return s.bound("SCRAM-SHA-256-PLUS", c.NewConversationWithChannelBinding(scram.ChannelBinding{Type: "tls-exporter", Data: exporter.GetData()}), exporter)
	}
	app, err := s.admin.CreateAppPassword(t.Context(), &directoryv1.CreateAppPasswordRequest{Address: alice, Label: "phone"})
	if err != nil {
		t.Fatal(err)
	}
	s.expect("app password", attempt(app.GetPassword()), ok)
	for i := range 6 {
		s.expect("guess", attempt(fmt.Sprintf("guess %d", i)), failed)
	}
	s.expect("right", attempt(secret), throttled)
}

// What a client says of binding is looked at before anything is told of the name.
func TestDowngradeIsToldFirst(t *testing.T) {
	s := start(t, "--directory-scram-plus")
	begin := from(home, "imap")
	begin.Mechanism, begin.InitialResponse = "SCRAM-SHA-256", []byte("y,,n="+alice+",r=nonce")
	begin.ChannelBindings = []*directoryv1.ChannelBinding{{Type: "tls-exporter", Data: []byte("x")}}
	for range 10 { // it is no guess: nobody is slowed
		_, err := sasl.Authenticate(t.Context(), s.gateway, begin, func([]byte) ([]byte, error) {
			t.Error("there was a challenge")
			return nil, nil
		})
		s.expect("downgrade", fault.Reason(err), failed)
	}
	s.expect("right", s.plain(home, alice, secret), ok)
}
