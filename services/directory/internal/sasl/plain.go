package sasl

import (
	"bytes"
	"context"
	"unicode/utf8"

	"github.com/yubin-mail/yubin/services/directory/internal/login"
)

// plain is PLAIN (RFC 4616).
type plain struct {
	login  *login.Login
	client login.Client
	asked  bool
}

func (m *plain) Next(ctx context.Context, response []byte) ([]byte, *Success, error) {
	if response == nil && !m.asked {
		m.asked = true
		return []byte{}, nil, nil
	}
	authzid, authcid, password, err := parsePlain(response)
	if err != nil {
		return nil, nil, err
	}
	account, err := m.login.Password(ctx, m.client, authcid, password)
	if err != nil {
		return nil, nil, err
	}
	if !oneself(authzid, authcid) {
		return nil, nil, login.ErrForeign
	}
	return nil, &Success{Account: account}, nil
}

func parsePlain(message []byte) (authzid, authcid, password string, err error) {
	fields := bytes.Split(message, []byte{0})
	if len(fields) != 3 || len(fields[1]) == 0 || len(fields[2]) == 0 || !utf8.Valid(message) {
		return "", "", "", malformed("PLAIN message is malformed")
	}
	return string(fields[0]), string(fields[1]), string(fields[2]), nil
}
