// Package server wires the storage service.
package server

import (
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/storage/internal/capacity"
	"github.com/yubin-mail/yubin/services/storage/internal/feed"
	"github.com/yubin-mail/yubin/services/storage/internal/object/s3"
)

// maxLargeBody bounds a group of bodies, which is made in memory.
const maxLargeBody = 8 * config.MiB

// Config of the storage service.
type Config struct {
	// Dir is the data directory: storage.db, unless the database is PostgreSQL, bodies and temporary files are made in it. It has no flag
	// here: the process decides.
	Dir string

	database         sqldb.Config
	retention        time.Duration
	maxMessageSize   config.Size
	maxRecipients    int
	maxMailboxes     int
	maxKeywords      int
	spoolMemory      config.Size
	spoolTotalMemory config.Size
	readCache        config.Size
	readCacheDir     string
	readCacheDisk    config.Size
	largeBody        config.Size
	groupWait        time.Duration
	minFree          config.Size
	s3               s3.Config
	quotaPatience    time.Duration
	upkeep           upkeepConfig
	catalog          catalogConfig
	index            indexConfig
	feed             feed.Config
}

// Flags declares the settings.
func (c *Config) Flags(fs *pflag.FlagSet) {
	c.database.Flags(fs, "storage")
	fs.DurationVar(&c.retention, "storage-retention", 14*24*time.Hour, "how long deleted messages can be restored by the operator; they do not count")
	config.SizeVar(fs, &c.minFree, "storage-min-free", 64*config.MB, "room that new mail leaves free on the disk, so that deleting works when it is full, 0 for none; "+
		"deleted messages give their room back after --storage-retention, and a shorter one holds for them too from the next start")
	config.SizeVar(fs, &c.maxMessageSize, "storage-max-message-size", 50*config.MB, "largest message that is taken")
	fs.IntVar(&c.maxRecipients, "storage-max-recipients", 1000, "most recipients of one delivery")
	fs.IntVar(&c.maxMailboxes, "storage-max-mailboxes", 10_000, "most mailboxes of an account")
	fs.IntVar(&c.maxKeywords, "storage-max-keywords", 256, "most different keywords of an account")
	config.SizeVar(fs, &c.spoolMemory, "storage-spool-memory", config.MiB, "memory for one incoming message; more goes to a temporary file")
	config.SizeVar(fs, &c.spoolTotalMemory, "storage-spool-total-memory", 256*config.MiB, "memory for all incoming messages together")
	config.SizeVar(fs, &c.readCache, "storage-read-cache", 64*config.MiB, "memory for bodies that are read again")
	fs.StringVar(&c.readCacheDir, "storage-read-cache-dir", "", "directory for a second read cache, on a local disk; empty: none")
	config.SizeVar(fs, &c.readCacheDisk, "storage-read-cache-disk", 10*config.GB, "disk space of --storage-read-cache-dir")
	config.SizeVar(fs, &c.largeBody, "storage-large-body", config.MiB, "size above which a body becomes an object of its own")
	fs.DurationVar(&c.groupWait, "storage-group-wait", 2*time.Millisecond, "how long a group of deliveries waits for more under load; a lone one does not wait")
	fs.DurationVar(&c.quotaPatience, "storage-quota-patience", 0, "how long a write is tried again while quota is away, as while its only replica is replaced, "+
		"beyond the tries that are always made; less than 1m")
	c.s3.Flags(fs)
	c.upkeep.flags(fs)
	c.catalog.flags(fs)
	c.index.flags(fs)
	c.feed.Flags(fs)
}

// Validate tells all that is wrong.
func (c *Config) Validate() []error {
	errs := slices.Concat(c.database.Validate(), c.feed.Validate())
	if c.quotaPatience < 0 || c.quotaPatience >= capacity.HoldTime {
		errs = append(errs, config.Errorf("storage-quota-patience", "%v: must be less than %v", c.quotaPatience, capacity.HoldTime))
	}
	errs = append(errs, c.s3.Validate()...)
	errs = append(errs, c.upkeep.validate()...)
	errs = append(errs, c.catalog.validate()...)
	errs = append(errs, c.index.validate()...)
	if c.retention < 0 {
		errs = append(errs, config.Errorf("storage-retention", "%v: must not be negative", c.retention))
	}
	errs = config.AtLeast(errs, "storage-min-free", c.minFree, 0)
	errs = config.AtLeast(errs, "storage-max-message-size", c.maxMessageSize, 64*config.KiB)
	errs = config.AtLeast(errs, "storage-max-recipients", c.maxRecipients, 1)
	errs = config.AtLeast(errs, "storage-max-mailboxes", c.maxMailboxes, 16)
	errs = config.AtLeast(errs, "storage-max-keywords", c.maxKeywords, 16)
	errs = config.AtLeast(errs, "storage-spool-memory", c.spoolMemory, 4*config.KiB)
	errs = config.AtLeast(errs, "storage-spool-total-memory", c.spoolTotalMemory, config.MiB)
	errs = config.AtLeast(errs, "storage-read-cache", c.readCache, config.MiB)
	errs = config.AtLeast(errs, "storage-read-cache-disk", c.readCacheDisk, 16*config.MiB)
	errs = config.Between(errs, "storage-large-body", c.largeBody, 64*config.KiB, maxLargeBody)
	return config.Between(errs, "storage-group-wait", c.groupWait, 0, time.Second)
}
