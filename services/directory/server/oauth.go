package server

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/services/directory/internal/oauth"
)

// oauthConfig are the settings of logins by access tokens.
type oauthConfig struct {
	issuer           string
	audiences        []string
	scopes           []string
	claim, domain    string
	introspectionURL string
	clientID         string
	secretFile       string
	ca               string
	skew, timeout    time.Duration
	cacheTTL         time.Duration
	cacheEntries     int
}

func (c *oauthConfig) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.issuer, "directory-oauth-issuer", "", "issuer of the access tokens by which people may log in (OpenID Connect), as it calls itself; empty: there are none")
	fs.StringSliceVar(&c.audiences, "directory-oauth-audience", nil, "audiences (aud) of which an access token must have one: those that are for mail")
	fs.StringSliceVar(&c.scopes, "directory-oauth-scope", nil, "scopes that an access token must have, all of them")
	fs.StringVar(&c.claim, "directory-oauth-claim", "email", "claim of an access token that has the account's address; users must not be able to set it themselves")
	fs.StringVar(&c.domain, "directory-oauth-domain", "", "domain added to a claim that has none")
	fs.StringVar(&c.introspectionURL, "directory-oauth-introspection-url", "", "where to ask for each access token (RFC 7662), for tokens that are not JSON Web Tokens, or that can be revoked")
	fs.StringVar(&c.clientID, "directory-oauth-client-id", "", "client id with which the directory asks for access tokens")
	fs.StringVar(&c.secretFile, "directory-oauth-client-secret-file", "", "file with the secret of --directory-oauth-client-id")
	fs.StringVar(&c.ca, "directory-oauth-ca", "", "PEM file with the CA of the issuer's certificate; empty: those of the system")
	fs.DurationVar(&c.skew, "directory-oauth-clock-skew", time.Minute, "how far the issuer's clock may be from this one")
	fs.DurationVar(&c.timeout, "directory-oauth-timeout", 5*time.Second, "how long the issuer may take to answer a request")
	fs.DurationVar(&c.cacheTTL, "directory-oauth-cache-ttl", 5*time.Minute, "how long an access token that was checked is remembered at most, within its life; 0: not at all")
	fs.IntVar(&c.cacheEntries, "directory-oauth-cache-entries", 100000, "most access tokens remembered")
}

func (c *oauthConfig) enabled() bool { return c.issuer != "" || c.introspectionURL != "" }

func (c *oauthConfig) validate() []error {
	var errs []error
	wrong := func(flag, format string, args ...any) {
		errs = append(errs, config.Errorf("directory-oauth-"+flag, format, args...))
	}
	if !c.enabled() {
		for _, given := range []struct {
			flag string
			set  bool
		}{
			{"audience", len(c.audiences) > 0}, {"scope", len(c.scopes) > 0}, {"domain", c.domain != ""}, {"client-id", c.clientID != ""},
			{"client-secret-file", c.secretFile != ""}, {"ca", c.ca != ""},
		} {
			if given.set {
				wrong(given.flag, "has no effect: give --directory-oauth-issuer or --directory-oauth-introspection-url")
			}
		}
		return errs
	}
	if c.issuer != "" {
		if err := oauth.CheckURL(c.issuer); err != nil {
			wrong("issuer", "%q %w", c.issuer, err)
		} else if strings.Contains(c.issuer, "?") {
			wrong("issuer", "%q must not have a query", c.issuer)
		}
	}
	if c.introspectionURL == "" {
		if len(c.audiences) == 0 {
			wrong("audience", "is empty: without it, tokens that the issuer has made for other services would open the mail")
		}
		if c.clientID != "" {
			wrong("client-id", "has no effect: give --directory-oauth-introspection-url")
		}
		if c.secretFile != "" {
			wrong("client-secret-file", "has no effect: give --directory-oauth-introspection-url")
		}
	} else {
		errs = append(errs, c.validateIntrospection()...)
	}
	if c.claim == "" {
		wrong("claim", "is empty: name the claim that has the address, such as email")
	}
	if c.domain != "" {
		if _, err := address.ParseDomain(c.domain); err != nil {
			wrong("domain", "%w", err)
		}
	}
	if _, err := c.roots(); err != nil {
		wrong("ca", "%w", err)
	}
	errs = config.Between(errs, "directory-oauth-clock-skew", c.skew, 0, 10*time.Minute)
	errs = config.Between(errs, "directory-oauth-timeout", c.timeout, 100*time.Millisecond, 30*time.Second)
	errs = config.AtLeast(errs, "directory-oauth-cache-ttl", c.cacheTTL, 0)
	return config.Between(errs, "directory-oauth-cache-entries", c.cacheEntries, 1, 100_000_000)
}

func (c *oauthConfig) validateIntrospection() []error {
	var errs []error
	if err := oauth.CheckURL(c.introspectionURL); err != nil {
		errs = append(errs, config.Errorf("directory-oauth-introspection-url", "%q %w", c.introspectionURL, err))
	}
	if c.clientID == "" {
		errs = append(errs, config.Errorf("directory-oauth-client-id", "is empty: issuers answer only those whom they know"))
	}
	if _, err := c.secret(); err != nil {
		errs = append(errs, config.Errorf("directory-oauth-client-secret-file", "%w", err))
	}
	if len(c.audiences) == 0 && len(c.scopes) == 0 {
		errs = append(errs, config.Errorf("directory-oauth-audience",
			"is empty, and so is --directory-oauth-scope: tokens that the issuer has made for other services would open the mail"))
	}
	return errs
}

func (c *oauthConfig) secret() (string, error) {
	if c.secretFile == "" {
		return "", errors.New("is empty: name the file with the secret of --directory-oauth-client-id")
	}
	text, err := os.ReadFile(c.secretFile)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("%s is empty", c.secretFile)
	}
	return secret, nil
}

// roots are those of the CA file, nil without one.
func (c *oauthConfig) roots() (*x509.CertPool, error) {
	if c.ca == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.ca)
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate (PEM)", c.ca)
	}
	return pool, nil
}

func (c *oauthConfig) options(deps Deps) (oauth.Options, error) {
	o := oauth.Options{
		Log: deps.Log, Registerer: deps.Registerer, Now: deps.Now,
		Issuer: c.issuer, Audiences: c.audiences, Scopes: c.scopes, Claim: c.claim, Domain: c.domain,
		IntrospectionURL: c.introspectionURL, ClientID: c.clientID,
		Skew: c.skew, Timeout: c.timeout, CacheTTL: c.cacheTTL, CacheEntries: c.cacheEntries,
	}
	var err error
	if o.RootCAs, err = c.roots(); err != nil {
		return o, err
	}
	if c.introspectionURL != "" {
		o.ClientSecret, err = c.secret()
	}
	return o, err
}
