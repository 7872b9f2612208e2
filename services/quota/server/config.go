// Package server wires the quota service.
package server

import (
	"fmt"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

// minReservationTTL is longer than a write can still commit: storage does so within a minute, or reserves again.
const minReservationTTL = 90 * time.Second

// Config of the quota service.
type Config struct {
	// Dir is the data directory; the embedded database, quota.db, is made in it. It has no flag here: the process decides.
	Dir string

	database          sqldb.Config
	defaultBytes      limit
	defaultMessages   limit
	reservationTTL    time.Duration
	limitsByIMAP      bool
	warnLevels        levels
	noticeFrom        string
	reconcileInterval time.Duration
	reconcileRepair   bool
	metricsInterval   time.Duration
}

// limit is a size, or "none".
type limit int64

// String implements pflag.Value.
func (l *limit) String() string {
	if *l == ledger.Unlimited {
		return "none"
	}
	return config.Size(*l).String()
}

// Set implements pflag.Value.
func (l *limit) Set(s string) error {
	if strings.EqualFold(s, "none") || s == "-1" {
		*l = ledger.Unlimited
		return nil
	}
	size, err := config.ParseSize(s)
	*l = limit(size)
	return err
}

// Type implements pflag.Value.
func (*limit) Type() string { return "limit" }

// levels are percentages.
type levels []int

// String implements pflag.Value.
func (l *levels) String() string {
	texts := make([]string, len(*l))
	for i, level := range *l {
		texts[i] = strconv.Itoa(level)
	}
	return strings.Join(texts, ",")
}

// Set implements pflag.Value. Unlike pflag's own list it takes an empty one.
func (l *levels) Set(s string) error {
	var out levels
	for text := range strings.SplitSeq(s, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		level, err := strconv.Atoi(strings.TrimSuffix(text, "%"))
		if err != nil {
			return fmt.Errorf("%q is not a percentage; write for example 80,90,100", text)
		}
		out = append(out, level)
	}
	*l = out
	return nil
}

// Type implements pflag.Value.
func (*levels) Type() string { return "percents" }

// Flags declares the settings.
func (c *Config) Flags(fs *pflag.FlagSet) {
	c.database.Flags(fs, "quota")
	c.defaultBytes, c.defaultMessages = limit(5*config.GB), ledger.Unlimited
	fs.Var(&c.defaultBytes, "quota-default-bytes", "capacity of an account where no limit is set for it, its domain or all: a size such as 5GB (5×10⁹ octets) or 5GiB, or none")
	fs.Var(&c.defaultMessages, "quota-default-messages", "most messages of an account where no limit is set for it, its domain or all: a number or none")
	fs.BoolVar(&c.limitsByIMAP, "quota-limits-by-imap", false, "let the IMAP gateway set the limits of accounts, for the operators of --imap-operators (SETQUOTA)")
	fs.DurationVar(&c.reservationTTL, "quota-reservation-ttl", 2*time.Minute, "when capacity that was reserved and neither used nor released is free again, as after the death of a storage process; at least 90s")
	c.warnLevels = levels{80, 90, 100}
	fs.Var(&c.warnLevels, "quota-warn-levels", "percent of the limit at which the owner is warned by mail; empty: never")
	fs.StringVar(&c.noticeFrom, "quota-notice-from", "", "sender address of the warnings; empty: postmaster of the account's domain")
	fs.DurationVar(&c.reconcileInterval, "quota-reconcile-interval", 24*time.Hour, "how often the ledger is compared with storage; at least 1s")
	fs.BoolVar(&c.reconcileRepair, "quota-reconcile-repair", true, "correct the ledger where it differs from storage")
	fs.DurationVar(&c.metricsInterval, "quota-metrics-interval", time.Minute, "how often the sums over all accounts are computed for the metrics; at least 1s")
}

// Validate tells all that is wrong.
func (c *Config) Validate() []error {
	errs := c.database.Validate()
	errs = config.AtLeast(errs, "quota-reservation-ttl", c.reservationTTL, minReservationTTL)
	for _, level := range c.warnLevels {
		if level < 1 || level > 1000 {
			errs = append(errs, config.Errorf("quota-warn-levels", "%d: must be a percentage, 1 to 1000", level))
		}
	}
	if c.noticeFrom != "" {
		if a, err := mail.ParseAddress(c.noticeFrom); err != nil || a.Address != c.noticeFrom {
			errs = append(errs, config.Errorf("quota-notice-from", "%q is no address; write for example postmaster@example.com", c.noticeFrom))
		}
	}
	errs = config.AtLeast(errs, "quota-reconcile-interval", c.reconcileInterval, time.Second)
	return config.AtLeast(errs, "quota-metrics-interval", c.metricsInterval, time.Second)
}

// ascending are the levels in order, each once.
func (l levels) ascending() []int {
	return slices.Compact(slices.Sorted(slices.Values(l)))
}
