// Package server wires the directory service.
package server

import (
	"runtime"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/directory/internal/password"
)

// Config of the directory service.
type Config struct {
	// Dir is the data directory; the embedded database, directory.db, is made in it. It has no flag here: the process decides.
	Dir string

	database sqldb.Config

	postmaster string

	argon2Memory   config.Size
	argon2Time     int
	argon2Threads  int
	argon2Parallel int
	argon2Wait     time.Duration

	scram, bind     bool
	scramIterations int

	cacheTTL     time.Duration
	cacheEntries int

	throttleFailures        int
	throttleNetworkFailures int
	throttleAccountFailures int
	throttleMaxDelay        time.Duration
	throttleEntries         int
	throttleExempt          config.Prefixes

	exchangeTimeout time.Duration

	oauth oauthConfig
}

// Flags declares the settings.
func (c *Config) Flags(fs *pflag.FlagSet) {
	c.database.Flags(fs, "directory")
	fs.StringVar(&c.postmaster, "directory-postmaster", "", "address that takes mail to postmaster@ every domain that has no such account or alias; empty: left to the domain's catch-all")
	config.SizeVar(fs, &c.argon2Memory, "directory-argon2-memory", config.Size(password.DefaultParams.Memory)*config.KiB, "memory of one argon2id computation; stored passwords follow at their next login")
	fs.IntVar(&c.argon2Time, "directory-argon2-time", int(password.DefaultParams.Time), "passes of an argon2id computation")
	fs.IntVar(&c.argon2Threads, "directory-argon2-threads", int(password.DefaultParams.Threads), "threads of an argon2id computation")
	fs.IntVar(&c.argon2Parallel, "directory-argon2-parallel", runtime.GOMAXPROCS(0), "argon2id computations at a time; each takes --directory-argon2-memory")
	fs.DurationVar(&c.argon2Wait, "directory-argon2-wait", 30*time.Second, "longest wait of a login for its argon2id computation to begin: what comes at once waits in turn")
	fs.BoolVar(&c.scram, "directory-scram", true, "keep SCRAM-SHA-256 keys of passwords that are set, and offer the mechanism")
	fs.BoolVar(&c.bind, "directory-scram-plus", false,
		"offer SCRAM-SHA-256-PLUS too, which binds logins to their TLS connection; some mail programs, such as NeoMutt, choose it and then cannot log in")
	fs.IntVar(&c.scramIterations, "directory-scram-iterations", 10000, "iterations of SCRAM-SHA-256; fixed when the directory is made, at least 4096")
	fs.DurationVar(&c.cacheTTL, "directory-password-cache-ttl", 10*time.Minute, "how long a checked password is remembered, so that clients that log in often are cheap; 0: not at all")
	fs.IntVar(&c.cacheEntries, "directory-password-cache-entries", 100000, "most passwords remembered")
	fs.IntVar(&c.throttleFailures, "directory-throttle-failures", 5, "failed logins of an account from one host that are not slowed down")
	fs.IntVar(&c.throttleNetworkFailures, "directory-throttle-network-failures", 50, "failed logins from one network (IPv4 /24, IPv6 /48) that are not slowed down")
	fs.IntVar(&c.throttleAccountFailures, "directory-throttle-account-failures", 100, "failed logins of an account from everywhere that do not slow down new places")
	fs.DurationVar(&c.throttleMaxDelay, "directory-throttle-max-delay", 15*time.Minute, "longest delay after failed logins")
	fs.IntVar(&c.throttleEntries, "directory-throttle-entries", 65536, "most hosts, networks and accounts, each, whose failures are remembered")
	config.PrefixesVar(fs, &c.throttleExempt, "directory-throttle-exempt", nil, "networks without delays by host and network: servers through which many users log in, such as webmail")
	fs.DurationVar(&c.exchangeTimeout, "directory-exchange-timeout", 2*time.Minute, "longest time of a login's exchange of messages")
	c.oauth.flags(fs)
}

// Validate tells all that is wrong.
func (c *Config) Validate() []error {
	errs := c.database.Validate()
	if _, err := c.postmasterAddress(); err != nil {
		errs = append(errs, config.Errorf("directory-postmaster", "%w; write for example postmaster@example.com", err))
	}
	errs = config.Between(errs, "directory-argon2-memory", c.argon2Memory, config.MiB, config.GiB)
	errs = config.Between(errs, "directory-argon2-time", c.argon2Time, 1, 100)
	errs = config.Between(errs, "directory-argon2-threads", c.argon2Threads, 1, 64)
	errs = config.Between(errs, "directory-argon2-parallel", c.argon2Parallel, 1, 1024)
	errs = config.AtLeast(errs, "directory-argon2-wait", c.argon2Wait, 100*time.Millisecond)
	errs = config.Between(errs, "directory-scram-iterations", c.scramIterations, password.MinScramIterations, 10_000_000)
	errs = config.AtLeast(errs, "directory-password-cache-ttl", c.cacheTTL, 0)
	errs = config.Between(errs, "directory-password-cache-entries", c.cacheEntries, 1, 100_000_000)
	errs = config.Between(errs, "directory-throttle-failures", c.throttleFailures, 1, 1_000_000)
	errs = config.Between(errs, "directory-throttle-network-failures", c.throttleNetworkFailures, 1, 1_000_000)
	errs = config.Between(errs, "directory-throttle-account-failures", c.throttleAccountFailures, 1, 1_000_000)
	errs = config.AtLeast(errs, "directory-throttle-max-delay", c.throttleMaxDelay, time.Second)
	errs = config.Between(errs, "directory-throttle-entries", c.throttleEntries, 1, 100_000_000)
	errs = config.AtLeast(errs, "directory-exchange-timeout", c.exchangeTimeout, time.Second)
	return append(errs, c.oauth.validate()...)
}

func (c *Config) postmasterAddress() (address.Address, error) {
	if c.postmaster == "" {
		return address.Address{}, nil
	}
	a, err := address.Parse(c.postmaster)
	if err == nil && a.Domain == "" {
		err = address.ErrInvalid
	}
	return a, err
}
