package sasl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/yubin-mail/yubin/services/directory/internal/login"
	"github.com/yubin-mail/yubin/services/directory/internal/oauth"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
)

// bearer is a login by an access token: OAUTHBEARER (RFC 7628), or XOAUTH2, its forerunner at Google.
type bearer struct {
	login  *login.Login
	client login.Client
	dialect
	asked  bool
	failed error // the client has been told why, and is to answer before the exchange ends
}

// dialect is what differs between the mechanisms.
type dialect struct {
	// parse gives the name, which may be empty, and the token.
	parse func(message []byte) (name, token string, err error)
	// statuses are for the codes of package oauth.
	statuses map[string]string
}

var (
	oauthBearer = dialect{parseBearer, map[string]string{oauth.InvalidToken: oauth.InvalidToken, oauth.InsufficientScope: oauth.InsufficientScope}}
	xoauth2     = dialect{parseXOAuth2, map[string]string{oauth.InvalidToken: "401", oauth.InsufficientScope: "403"}}
)

func (m *bearer) Next(ctx context.Context, response []byte) ([]byte, *Success, error) {
	switch {
	case m.failed != nil: // whatever the client says to it (RFC 7628 section 3.2.3)
		return nil, nil, m.failed
	case response == nil && !m.asked:
		m.asked = true
		return []byte{}, nil, nil
	}
	name, token, err := m.parse(response)
	if err != nil {
		return nil, nil, err
	}
	account, err := m.check(ctx, name, token)
	if refused, ok := errors.AsType[*login.TokenError](err); ok {
		m.failed = refused.Unwrap()
		return m.challenge(refused.Code), nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return nil, &Success{Account: account}, nil
}

// Failed implements Failer.
func (m *bearer) Failed() error { return m.failed }

func (m *bearer) check(ctx context.Context, name, token string) (store.Account, error) {
	if token == "" { // a question for where to get one (RFC 7628 section 4.3)
		return store.Account{}, &login.TokenError{Code: oauth.InvalidToken}
	}
	return m.login.Token(ctx, m.client, name, token)
}

// challenge is the answer to a token that opens nothing (RFC 7628 section 3.2.2).
func (m *bearer) challenge(code string) []byte {
	tokens := m.login.Tokens()
	text, err := json.Marshal(struct {
		Status        string `json:"status"`
		Schemes       string `json:"schemes"`
		Scope         string `json:"scope,omitempty"`
		Configuration string `json:"openid-configuration,omitempty"`
	}{m.statuses[code], "bearer", strings.Join(tokens.Scopes(), " "), tokens.ConfigurationURL()})
	if err != nil {
		return []byte(`{"status":"invalid_token"}`)
	}
	return text
}

const separator = "\x01"

// parseBearer reads RFC 7628 section 3.1: a GS2 header without channel binding, and pairs of which host and port say nothing here.
func parseBearer(message []byte) (name, token string, err error) {
	fields := bytes.SplitN(message, []byte(","), 3)
	if len(fields) != 3 || !utf8.Valid(message) || string(fields[0]) != "n" && string(fields[0]) != "y" {
		return "", "", errBearer
	}
	if len(fields[1]) > 0 {
		encoded, found := strings.CutPrefix(string(fields[1]), "a=")
		if name, err = saslName(encoded); err != nil || !found || name == "" {
			return "", "", errBearer
		}
	}
	token, err = parsePairs(string(fields[2]))
	return name, token, err
}

// parseXOAuth2 reads a message as Google describes it: user=name, SOH, auth=Bearer token, SOH, SOH.
func parseXOAuth2(message []byte) (name, token string, err error) {
	user, rest, found := strings.Cut(string(message), separator)
	name, named := strings.CutPrefix(user, "user=")
	if !found || !named || name == "" || !utf8.Valid(message) {
		return "", "", errBearer
	}
	token, err = parsePairs(separator + rest)
	return name, token, err
}

var errBearer = malformed("OAuth message is malformed")

// parsePairs reads *(SOH key=value) SOH SOH, and gives the token of auth.
func parsePairs(text string) (token string, err error) {
	text, opened := strings.CutPrefix(text, separator)
	text, ended := strings.CutSuffix(text, separator+separator)
	if !opened || !ended {
		return "", errBearer
	}
	said := false
	for pair := range strings.SplitSeq(text, separator) {
		key, value, found := strings.Cut(pair, "=")
		switch {
		case !found || key == "":
			return "", errBearer
		case key != "auth":
			continue
		case said:
			return "", errBearer
		}
		if said = true; value == "" {
			continue
		}
		scheme, credentials, _ := strings.Cut(value, " ")
		if token = strings.Trim(credentials, " "); !strings.EqualFold(scheme, "Bearer") || !isToken(token) {
			return "", errBearer
		}
	}
	if !said {
		return "", errBearer
	}
	return token, nil
}

// isToken tells whether a text is a b64token (RFC 6750 section 2.1).
func isToken(text string) bool {
	body := strings.TrimRight(text, "=")
	return body != "" && !strings.ContainsFunc(body, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r)
	})
}

// saslName decodes a saslname (RFC 5801 section 4).
func saslName(encoded string) (string, error) {
	decoded := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(encoded)
	if strings.Count(encoded, "=") != strings.Count(encoded, "=2C")+strings.Count(encoded, "=3D") || strings.Contains(encoded, "\x00") {
		return "", errBearer
	}
	return decoded, nil
}
