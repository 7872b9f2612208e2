package oauth

import (
	"encoding/json"
	"errors"
	"math"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/yubin-mail/yubin/pkg/address"
)

// claims of a token (RFC 7519 section 4.1, RFC 8693 section 4.2, RFC 7662 section 2.2) whose origin is known.
type claims struct {
	Issuer    string    `json:"iss"`
	Audience  list      `json:"aud"`
	Expiry    *numeric  `json:"exp"`
	NotBefore *numeric  `json:"nbf"`
	Scope     words     `json:"scope"`
	Scp       words     `json:"scp"` // of Microsoft and Okta
	Active    *bool     `json:"active"`
	Verified  *verified `json:"email_verified"`
}

// judge tells whose a token with these claims is.
func (v *Verifier) judge(payload []byte) (identity, error) {
	var c claims
	var all map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(payload, &c), json.Unmarshal(payload, &all)); err != nil {
		return identity{}, refuse("its claims cannot be read: %v", err)
	}
	introspected := v.o.IntrospectionURL != ""
	if introspected {
		if c.Active == nil || !*c.Active {
			return identity{}, refuse("the issuer says that it is not active")
		}
		if v.o.Issuer != "" && c.Issuer != "" && c.Issuer != v.o.Issuer {
			return identity{}, refuse("its issuer is %q", c.Issuer)
		}
	}
	until, late := v.lasts(c, introspected)
	if refused, ok := errors.AsType[*RefusedError](late); ok && !refused.Expired {
		return identity{}, late
	}
	if len(v.o.Audiences) > 0 && !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(v.o.Audiences, a) }) {
		return identity{}, refuse("its audience is %q", []string(c.Audience))
	}
	for _, scope := range v.o.Scopes {
		if !slices.Contains(c.Scope, scope) && !slices.Contains(c.Scp, scope) {
			return identity{}, &RefusedError{Code: InsufficientScope, Reason: "it has not the scope " + scope}
		}
	}
	if v.o.Claim == "email" && c.Verified != nil && !bool(*c.Verified) {
		return identity{}, refuse("the issuer has not verified the address (email_verified)")
	}
	a, err := v.address(all[v.o.Claim])
	if err == nil {
		err = late // whose holder could read that in it, too
	}
	return identity{address: a, until: until}, err
}

// lasts gives the end of a token.
func (v *Verifier) lasts(c claims, introspected bool) (until time.Time, err error) {
	now := v.o.Now()
	switch {
	case c.Expiry != nil:
		if until = c.Expiry.time().Add(v.o.Skew); !now.Before(until) {
			return until, &RefusedError{Code: InvalidToken, Reason: "it has expired", Expired: true}
		}
	case !introspected:
		return until, refuse("it has no end (exp)")
	}
	if c.NotBefore != nil && now.Add(v.o.Skew).Before(c.NotBefore.time()) {
		return until, &RefusedError{Code: InvalidToken, Reason: "it does not hold yet (nbf)", brief: true}
	}
	return until, nil
}

// address reads the claim with the address.
func (v *Verifier) address(value json.RawMessage) (address.Address, error) {
	var text string
	if json.Unmarshal(value, &text) != nil || text == "" {
		return address.Address{}, refuse("it has no claim %s that is a text", v.o.Claim)
	}
	if !strings.Contains(text, "@") && v.o.Domain != "" {
		text += "@" + v.o.Domain
	}
	a, err := address.Parse(text)
	if err != nil || a.Domain == "" {
		return address.Address{}, refuse("its claim %s is not an address", v.o.Claim)
	}
	return a, nil
}

// list is a text or several.
type list []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *list) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = list{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// words are a text with spaces between them, or several.
type words []string

// UnmarshalJSON implements json.Unmarshaler.
func (w *words) UnmarshalJSON(b []byte) error {
	var l list
	if err := l.UnmarshalJSON(b); err != nil {
		return err
	}
	*w = nil
	for _, text := range l {
		*w = append(*w, strings.Fields(text)...)
	}
	return nil
}

// numeric is a NumericDate (RFC 7519 section 2).
type numeric float64

func (n numeric) time() time.Time {
	const most = 1 << 40 // s, beyond which there is no need to be exact
	return time.Unix(int64(math.Max(-most, math.Min(most, float64(n)))), 0)
}

// verified is a boolean, which some issuers write as a text.
type verified bool

// UnmarshalJSON implements json.Unmarshaler.
func (v *verified) UnmarshalJSON(b []byte) error {
	*v = string(b) == "true" || string(b) == `"true"`
	return nil
}

// CheckURL tells what is wrong with the URL of an issuer's: it must be https, as whoever can write the answers can log in as anybody. On this host http will do.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("is no URL")
	case u.Host == "" || u.Fragment != "" || u.User != nil:
		return errors.New("must be a URL such as https://login.example.com")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && local(u.Hostname()):
		return nil
	}
	return errors.New("must begin with https://")
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
