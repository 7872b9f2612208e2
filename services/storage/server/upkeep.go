package server

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/services/storage/internal/audit"
	"github.com/yubin-mail/yubin/services/storage/internal/compact"
	"github.com/yubin-mail/yubin/services/storage/internal/job"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/reclaim"
	"github.com/yubin-mail/yubin/services/storage/internal/space"
)

// upkeepConfig is the settings of what keeps the stores in order.
type upkeepConfig struct {
	compactRate     config.Size
	compactPackSize config.Size
	deleteGrace     time.Duration
}

func (c *upkeepConfig) flags(fs *pflag.FlagSet) {
	config.SizeVar(fs, &c.compactRate, "storage-compact-rate", 16*config.MiB,
		"octets a second that compaction reads and writes, slower while mail comes in; 0 for no compaction but by the command")
	config.SizeVar(fs, &c.compactPackSize, "storage-compact-pack-size", 32*config.MiB, "size of the objects that compaction makes; so much memory it takes, or twice that")
	fs.DurationVar(&c.deleteGrace, "storage-delete-grace", time.Hour,
		"how long an object in which nothing is alive stays; a backup that copies the database first must be done with the bodies by then")
}

func (c *upkeepConfig) validate() []error {
	var errs []error
	if c.compactRate != 0 {
		errs = config.AtLeast(errs, "storage-compact-rate", c.compactRate, compact.MinRate)
	}
	errs = config.Between(errs, "storage-compact-pack-size", c.compactPackSize, config.MiB, 64*config.MiB)
	return config.AtLeast(errs, "storage-delete-grace", c.deleteGrace, 0)
}

// upkeep keeps the stores in order.
type upkeep struct {
	jobs      *job.Runner
	reclaimer *reclaim.Reclaimer
	compactor *compact.Compactor
	auditor   *audit.Auditor
	compacts  bool // by itself
}

func (c *upkeepConfig) assemble(store *meta.Store, objects object.Store, guard *space.Guard, busy func() bool, deps Deps) *upkeep {
	objects = object.Instrument(objects, deps.Registerer)
	u := &upkeep{jobs: job.NewRunner(store, deps.Log), compacts: c.compactRate > 0}
	u.reclaimer = reclaim.New(reclaim.Config{
		Meta: store, Objects: objects, Jobs: u.jobs, Grace: c.deleteGrace, Now: deps.Now, Log: deps.Log, Registerer: deps.Registerer,
	})
	u.compactor = compact.New(compact.Config{
		Meta: store, Objects: objects, PackBytes: int64(c.compactPackSize), Rate: int64(c.compactRate),
		Busy: busy, Admit: guard.Admit, MakeRoom: u.reclaimer.DeleteNow,
		Now: deps.Now, Log: deps.Log, Registerer: deps.Registerer,
	})
	u.auditor = &audit.Auditor{Meta: store, Objects: objects, Jobs: u.jobs, Now: deps.Now, Log: deps.Log}
	return u
}

func (u *upkeep) components() []lifecycle.Component {
	list := []lifecycle.Component{{Name: "storage reclaimer", Run: u.reclaimer.Run}}
	if u.compacts {
		list = append(list, lifecycle.Component{Name: "storage compactor", Run: u.compactor.Run})
	}
	return list
}
