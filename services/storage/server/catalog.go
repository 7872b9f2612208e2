package server

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/catalog"
	"github.com/yubin-mail/yubin/services/storage/internal/job"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// errRebuilding keeps the service from a database that does not hold all mail.
var errRebuilding = errors.New(`a rebuild of the database was interrupted: run "yubin storage rebuild" again, it goes on where it was`)

// catalogConfig is the settings of the catalog.
type catalogConfig struct{ interval time.Duration }

func (c *catalogConfig) flags(fs *pflag.FlagSet) {
	fs.DurationVar(&c.interval, "storage-catalog-interval", time.Hour, "how often the mailboxes, flags and deletions that have changed are noted in the object "+
		"store, from which mailboxes are rebuilt should the database be lost; 0 for never: then all mail comes back unread where it was delivered")
}

func (c *catalogConfig) validate() []error {
	if c.interval == 0 {
		return nil
	}
	return config.AtLeast(nil, "storage-catalog-interval", c.interval, time.Second)
}

// components write the catalog, unless it is off.
func (c *catalogConfig) components(store *meta.Store, objects object.Store, spools *body.Spools, jobs *job.Runner, deps Deps) []lifecycle.Component {
	if c.interval == 0 {
		return nil
	}
	w := catalog.New(catalog.Deps{
		Meta: store, Objects: object.Instrument(objects, deps.Registerer), Spools: spools, Now: deps.Now, Registerer: deps.Registerer,
	})
	return []lifecycle.Component{{Name: "storage catalog", Run: func(ctx context.Context) error {
		return jobs.Run(ctx, job.Job{Name: "catalog", Every: c.interval, Run: func(ctx context.Context, _ *job.Round) error { return w.Write(ctx) }})
	}}}
}
