package allinone

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	settings "github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/service"
	directory "github.com/yubin-mail/yubin/services/directory/server"
	quota "github.com/yubin-mail/yubin/services/quota/server"
	storage "github.com/yubin-mail/yubin/services/storage/server"
)

// Stores is where the all-in-one, or services of their own, keep their data: for what is done with it while nothing runs.
type Stores struct {
	DataDir   string
	Storage   storage.Config
	Quota     quota.Config
	Directory directory.Config
}

// foreign are the settings of a storage service of its own that the all-in-one does not have: its settings file may hold them.
var foreign = []string{"rpc-ca", "rpc-cert", "rpc-key", "quota-target", "storage-rpc-listen", "directory-target", "storage-target"}

// LoadStores reads settings as `yubin serve` and the storage service do, and those that own declares. usage has the settings that matter, for
// PrintUsage. Errors: pflag.ErrHelp, everything that is wrong.
func LoadStores(name string, own *pflag.FlagSet, args, environ []string) (s *Stores, usage *pflag.FlagSet, err error) {
	return loadStores(name, own, args, environ, func(flag string) bool { return strings.HasPrefix(flag, "storage-") })
}

// LoadDatabases is LoadStores for what is done with the databases of all services.
func LoadDatabases(name string, own *pflag.FlagSet, args, environ []string) (s *Stores, usage *pflag.FlagSet, err error) {
	return loadStores(name, own, args, environ, func(flag string) bool { return strings.Contains(flag, "-database-") })
}

func loadStores(name string, own *pflag.FlagSet, args, environ []string, matters func(flag string) bool) (s *Stores, usage *pflag.FlagSet, err error) {
	cfg := &config{}
	fs := service.AloneFlags(name, cfg)
	for _, f := range foreign {
		if fs.Lookup(f) == nil {
			fs.String(f, "", "")
		}
	}
	fs.AddFlagSet(own)
	usage = pflag.NewFlagSet(name, pflag.ContinueOnError)
	usage.SortFlags = false
	usage.AddFlagSet(own)
	fs.VisitAll(func(f *pflag.Flag) {
		ours := f.Name == "data-dir" || f.Name == settings.FileFlag || matters(f.Name)
		if ours && !slices.Contains(foreign, f.Name) {
			usage.AddFlag(f)
		}
	})
	environ = slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		variable, _, _ := strings.Cut(entry, "=")
		known := false
		fs.VisitAll(func(f *pflag.Flag) { known = known || settings.EnvName(f.Name) == variable })
		return !known
	})
	if err := settings.Load(fs, args, environ); err != nil {
		return nil, usage, err
	}
	if err := settings.Check(cfg.storage.Validate(), cfg.quota.Validate(), cfg.directory.Validate()); err != nil {
		return nil, usage, err
	}
	cfg.directories()
	return &Stores{DataDir: cfg.dataDir, Storage: cfg.storage, Quota: cfg.quota, Directory: cfg.directory}, usage, nil
}

// EmbeddedStores are those of a data directory, with the other settings at their defaults.
func EmbeddedStores(dataDir string) (*Stores, error) {
	s, _, err := LoadStores("yubin", pflag.NewFlagSet("yubin", pflag.ContinueOnError), []string{"--data-dir", dataDir}, nil)
	return s, err
}

// Lock keeps `yubin serve` from the data directory until unlock is called. It fails if one runs.
func (s *Stores) Lock() (unlock func(), err error) {
	if unlock, err = lock(s.DataDir); err != nil {
		return nil, fmt.Errorf("nothing may run on the stores meanwhile: %w", err)
	}
	return unlock, nil
}
