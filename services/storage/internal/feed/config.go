package feed

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
)

// Config says how replicas of storage hear of each other's changes. It does not matter to the embedded database, which has one replica.
type Config struct {
	urls        string
	credentials string
	tokenFile   string
	ca          string
	cert, key   string
	subject     string
	poll        time.Duration
	safetyPoll  time.Duration
}

// Flags declares the settings.
func (c *Config) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.urls, "storage-nats-url", "", "NATS servers by which several replicas tell each other of changes, as nats://host:4222,tls://host:4222; "+
		"empty: they look into the database each --storage-feed-poll")
	fs.StringVar(&c.credentials, "storage-nats-credentials", "", "file with NATS credentials (JWT and seed)")
	fs.StringVar(&c.tokenFile, "storage-nats-token-file", "", "file with a NATS token, read at each connect")
	fs.StringVar(&c.ca, "storage-nats-ca", "", "PEM file with the CA of the NATS servers; empty: the system's")
	fs.StringVar(&c.cert, "storage-nats-cert", "", "PEM file with a client certificate for the NATS servers")
	fs.StringVar(&c.key, "storage-nats-key", "", "PEM file with the key of --storage-nats-cert")
	fs.StringVar(&c.subject, "storage-nats-subject", "yubin.storage.changes", "NATS subject of the changes; each installation needs its own")
	fs.DurationVar(&c.poll, "storage-feed-poll", 2*time.Second, "how often a replica looks for changes of watched mailboxes while it has no NATS")
	fs.DurationVar(&c.safetyPoll, "storage-feed-safety-poll", time.Minute, "how often it does so while it has NATS, in case that something got lost")
}

// Validate tells all that is wrong. It does not tell a password.
func (c *Config) Validate() []error {
	var errs []error
	errs = config.AtLeast(errs, "storage-feed-poll", c.poll, 100*time.Millisecond)
	errs = config.AtLeast(errs, "storage-feed-safety-poll", c.safetyPoll, time.Second)
	if !c.Several() {
		return errs
	}
	for server := range strings.SplitSeq(c.urls, ",") {
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" {
			errs = append(errs, config.Errorf("storage-nats-url", "is no list of URLs like nats://host:4222 or tls://host:4222"))
			break
		}
	}
	if c.subject == "" || strings.ContainsAny(c.subject, " \t\r\n*>") || strings.HasPrefix(c.subject, ".") || strings.HasSuffix(c.subject, ".") || strings.Contains(c.subject, "..") {
		errs = append(errs, config.Errorf("storage-nats-subject", "%q is no subject; write for example yubin.storage.changes", c.subject))
	}
	if (c.cert == "") != (c.key == "") {
		errs = append(errs, config.Errorf("storage-nats-cert", "certificate and key go together"))
	}
	return errs
}

// Several tells whether replicas are to hear of each other through NATS.
func (c *Config) Several() bool { return c.urls != "" }

var errEmptyToken = errors.New("the file is empty")

// options are those of the connection that come from the settings.
func (c *Config) options() ([]nats.Option, error) {
	var options []nats.Option
	if c.credentials != "" {
		if _, err := os.Stat(c.credentials); err != nil {
			return nil, fmt.Errorf("read nats credentials: %w", err)
		}
		options = append(options, nats.UserCredentials(c.credentials))
	}
	if c.tokenFile != "" {
		if _, err := readToken(c.tokenFile); err != nil {
			return nil, err
		}
		options = append(options, nats.TokenHandler(func() string {
			token, _ := readToken(c.tokenFile) // a token that cannot be read is one that the server refuses
			return token
		}))
	}
	if c.ca != "" {
		options = append(options, nats.RootCAs(c.ca))
	}
	if c.cert != "" {
		options = append(options, nats.ClientCert(c.cert, c.key))
	}
	return options, nil
}

func readToken(file string) (string, error) {
	text, err := os.ReadFile(file) // #nosec G304 -- the operator names it
	if err != nil {
		return "", fmt.Errorf("read nats token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("read nats token: %w", errEmptyToken)
	}
	return token, nil
}
