package sasl

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/yubin-mail/yubin/services/directory/internal/login"
)

// scramSHA256 is SCRAM-SHA-256 (RFC 5802, RFC 7677). As an account has several passwords with one salt, there is one
// conversation for each, all with the same messages; the client proves one of them.
type scramSHA256 struct {
	login         *login.Login
	client        login.Client
	asked         bool
	attempt       *login.Scram
	conversations []*scram.ServerConversation
}

func (m *scramSHA256) Next(ctx context.Context, response []byte) ([]byte, *Success, error) {
	switch {
	case response == nil && !m.asked:
		m.asked = true
		return []byte{}, nil, nil
	case m.attempt == nil:
		challenge, err := m.first(ctx, string(response))
		return challenge, nil, err
	}
	success, err := m.final(ctx, string(response))
	return nil, success, err
}

// first answers client-first-message.
func (m *scramSHA256) first(ctx context.Context, message string) ([]byte, error) {
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
		conversation, err := newConversation(keys, nonce)
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

// identify reads who the client says it is.
func (m *scramSHA256) identify(message string) (name string, err error) {
	conversation, err := newConversation(scram.StoredCredentials{}, "")
	if err != nil {
		return "", err
	}
	if _, err := conversation.Step(message); err != nil {
		return "", malformed("SCRAM message is malformed")
	}
	if !oneself(conversation.AuthzID(), conversation.Username()) {
		return "", login.ErrFailed
	}
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
	return &Success{Account: account, Data: []byte(signature)}, nil
}

func newConversation(keys scram.StoredCredentials, nonce string) (*scram.ServerConversation, error) {
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return keys, nil })
	if err != nil {
		return nil, fmt.Errorf("begin scram: %w", err)
	}
	return server.WithNonceGenerator(func() string { return nonce }).NewConversation(), nil
}
