package sasl

import (
	"context"

	"github.com/yubin-mail/yubin/services/directory/internal/login"
)

// loginMechanism is LOGIN, which no RFC describes (draft-murchison-sasl-login-00), but old clients need.
type loginMechanism struct {
	login  *login.Login
	client login.Client
	asked  bool
	named  bool
	name   string
}

func (m *loginMechanism) Next(ctx context.Context, response []byte) ([]byte, *Success, error) {
	switch {
	case response == nil && !m.asked:
		m.asked = true
		return []byte("Username:"), nil, nil
	case !m.named: // some clients give the name as the initial response
		m.asked, m.named, m.name = true, true, string(response)
		return []byte("Password:"), nil, nil
	case m.name == "" || len(response) == 0:
		return nil, nil, malformed("user name or password is empty")
	}
	account, err := m.login.Password(ctx, m.client, m.name, string(response))
	if err != nil {
		return nil, nil, err
	}
	return nil, &Success{Account: account}, nil
}
