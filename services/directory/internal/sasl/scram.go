package sasl

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/directory/internal/login"
)

// scramSHA256 is SCRAM-SHA-256 (RFC 5802, RFC 7677), with channel binding or without. As an account has several passwords with one salt, there is one
// conversation for each, all with the same messages; the client proves one of them.
type scramSHA256 struct {
	login         *login.Login
	client        login.Client
	bindings      []scram.ChannelBinding // that were offered to the client
	plus          bool                   // the mechanism's name ends in -PLUS
	binding       scram.ChannelBinding   // the one the client uses; the zero value for none
	asked         bool
	attempt       *login.Scram
	foreign       bool // the client wants to act as somebody else
	conversations []*scram.ServerConversation
}

func (m *scramSHA256) Next(ctx context.Context, response []byte) ([]byte, *Success, error) {
	switch {
	case response == nil && !m.asked:
		m.asked = true
		return []byte{}, nil, nil
	case bytes.Contains(response, []byte(",m=")): // an extension that must be understood (RFC 5802 section 5.1), wherever it stands
		return nil, nil, malformed("SCRAM extension is not supported")
	case m.attempt == nil:
		challenge, err := m.first(ctx, string(response))
		return challenge, nil, err
	}
	success, err := m.final(ctx, string(response))
	return nil, success, err
}

// first answers client-first-message.
func (m *scramSHA256) first(ctx context.Context, message string) ([]byte, error) {
	if err := m.bind(message); err != nil {
		return nil, err
	}
	name, err := m.identify(message)
	if err != nil {
		return nil, err
	}
	attempt, err := m.login.Scram(ctx, m.client, name)
	if err != nil {
		return nil, err
	}
	nonce := rand.Text()
	var challenge string
	for _, keys := range attempt.Keys {
		conversation, err := m.newConversation(keys, nonce)
		if err != nil {
			return nil, err
		}
		if challenge, err = conversation.Step(message); err != nil {
			return nil, malformed("SCRAM message is malformed")
		}
		m.conversations = append(m.conversations, conversation)
	}
	m.attempt = attempt
	return []byte(challenge), nil
}

// Failures of channel binding. They are no guesses of a password.
var (
	errDowngrade = fault.New(codes.Unauthenticated, rpcv1.Reason_REASON_AUTHENTICATION_FAILED,
		"channel binding was offered, but not to the client: somebody may be between it and this server")
	errBindingType = fault.New(codes.Unauthenticated, rpcv1.Reason_REASON_AUTHENTICATION_FAILED, "the connection has no channel binding of this type")
)

// bind reads what the client says about channel binding (gs2-cbind-flag, RFC 5802 section 6).
func (m *scramSHA256) bind(message string) error {
	flag, _, _ := strings.Cut(message, ",")
	kind, binds := strings.CutPrefix(flag, "p=")
	switch {
	case flag == "y" && len(m.bindings) > 0:
		return errDowngrade
	case binds != m.plus:
		return malformed("SCRAM message does not go with the mechanism's name")
	case !binds:
		return nil
	}
	for _, b := range m.bindings {
		if string(b.Type) == kind {
			m.binding = b
			return nil
		}
	}
	return errBindingType
}

// identify reads who the client says it is.
func (m *scramSHA256) identify(message string) (name string, err error) {
	conversation, err := m.newConversation(scram.StoredCredentials{}, "")
	if err != nil {
		return "", err
	}
	if _, err := conversation.Step(message); err != nil {
		return "", malformed("SCRAM message is malformed")
	}
	m.foreign = !oneself(conversation.AuthzID(), conversation.Username())
	return conversation.Username(), nil
}

// final answers client-final-message.
func (m *scramSHA256) final(ctx context.Context, message string) (*Success, error) {
	proven, signature, wellFormed := -1, "", false
	for i, conversation := range m.conversations {
		answer, err := conversation.Step(message)
		if err == nil && conversation.Valid() {
			proven, signature = i, answer
		}
		wellFormed = wellFormed || err == nil || strings.HasPrefix(answer, "e=")
	}
	if !wellFormed {
		return nil, malformed("SCRAM message is malformed")
	}
	account, err := m.attempt.Finish(ctx, proven)
	if err != nil {
		return nil, err
	}
	if m.foreign {
		return nil, login.ErrForeign
	}
	return &Success{Account: account, Data: []byte(signature)}, nil
}

func (m *scramSHA256) newConversation(keys scram.StoredCredentials, nonce string) (*scram.ServerConversation, error) {
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return keys, nil })
	if err != nil {
		return nil, fmt.Errorf("begin scram: %w", err)
	}
	server.WithNonceGenerator(func() string { return nonce })
	if m.plus {
		return server.NewConversationWithChannelBindingRequired(m.binding), nil
	}
	return server.NewConversation(), nil
}
