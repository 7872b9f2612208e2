package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/yubin/internal/endpoint"
)

// connectFlags say where the system is.
type connectFlags struct {
	dataDir                   string
	directory, quota, storage string
	files                     tlsconf.Files
	set                       *pflag.FlagSet
}

func (f *connectFlags) declare(fs *pflag.FlagSet) {
	f.set = pflag.NewFlagSet("connect", pflag.ContinueOnError)
	f.set.StringVar(&f.dataDir, "data-dir", "", "data directory of the running all-in-one (default: ./data, or data beside the program's folder)")
	f.set.StringVar(&f.directory, "directory-target", "", "where the directory service is, as a gRPC target such as dns:///host:7101")
	f.set.StringVar(&f.quota, "quota-target", "", "where the quota service is")
	f.set.StringVar(&f.storage, "storage-target", "", "where the storage service is")
	f.set.StringVar(&f.files.CA, "rpc-ca", "", "PEM file of the authority that signed the services' certificates")
	f.set.StringVar(&f.files.Cert, "rpc-cert", "", `PEM file of the certificate of the service "admin"`)
	f.set.StringVar(&f.files.Key, "rpc-key", "", "PEM file of the certificate's key")
	fs.AddFlagSet(f.set)
}

// resolve sets what the command line did not from the environment.
func (f *connectFlags) resolve(environ []string) error {
	onLine := f.set.Lookup("data-dir").Changed
	ours := slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, value, _ := strings.Cut(entry, "=")
		own := false
		f.set.VisitAll(func(flag *pflag.Flag) { own = own || config.EnvName(flag.Name) == name })
		return !own || value == ""
	})
	if err := config.Resolve(f.set, ours); err != nil {
		return err
	}
	switch {
	case f.separate() && onLine:
		return errors.New("--data-dir is for the all-in-one, the --…-target flags are for separate services: leave out one or the other")
	case f.separate() && slices.Contains([]string{f.files.CA, f.files.Cert, f.files.Key}, ""):
		return errors.New("separate services need --rpc-ca, --rpc-cert and --rpc-key")
	case !f.separate() && f.files != tlsconf.Files{}:
		return errors.New("--rpc-ca, --rpc-cert and --rpc-key need the services' addresses: --directory-target, --quota-target, --storage-target")
	}
	return nil
}

func (f *connectFlags) separate() bool { return f.directory+f.quota+f.storage != "" }

// clients call the services.
type clients struct {
	directory      directoryv1.DirectoryServiceClient
	directoryAdmin directoryv1.DirectoryAdminServiceClient
	quota          quotav1.QuotaServiceClient
	quotaAdmin     quotav1.QuotaAdminServiceClient
	storage        storagev1.StorageServiceClient
	storageAdmin   storagev1.StorageAdminServiceClient
}

func newClients(directory, quota, storage grpc.ClientConnInterface) *clients {
	return &clients{
		directory:      directoryv1.NewDirectoryServiceClient(directory),
		directoryAdmin: directoryv1.NewDirectoryAdminServiceClient(directory),
		quota:          quotav1.NewQuotaServiceClient(quota),
		quotaAdmin:     quotav1.NewQuotaAdminServiceClient(quota),
		storage:        storagev1.NewStorageServiceClient(storage),
		storageAdmin:   storagev1.NewStorageAdminServiceClient(storage),
	}
}

const notRunningHint = `Start one with "make run" or "yubin serve", or say where it is: --data-dir for the all-in-one,
or --directory-target, --quota-target and --storage-target with --rpc-ca, --rpc-cert and --rpc-key for separate services.`

// connect finds the system. No network traffic happens before the first call.
func (a *app) connect(cmd *cobra.Command) (*clients, error) {
	if a.dialled != nil {
		return a.dialled, nil
	}
	if err := a.flags.resolve(a.environ); err != nil {
		return nil, &usageError{cmd: cmd, err: err}
	}
	f := &a.flags
	if f.separate() {
		conns := make([]grpc.ClientConnInterface, 0, 3)
		for _, s := range []struct{ name, target string }{{"directory", f.directory}, {"quota", f.quota}, {"storage", f.storage}} {
			if s.target == "" {
				conns = append(conns, unnamed{&usageError{cmd: cmd, err: fmt.Errorf("this needs the %s service: give --%s-target", s.name, s.name)}})
				continue
			}
			conn, err := a.dial(s.target, s.name, f.files)
			if err != nil {
				return nil, err
			}
			conns = append(conns, conn)
		}
		a.dialled = newClients(conns[0], conns[1], conns[2])
		return a.dialled, nil
	}
	e, err := endpoint.Find(f.dataDir)
	if errors.Is(err, endpoint.ErrNotRunning) {
		if f.dataDir != "" {
			err = fmt.Errorf("no running system found in %s", f.dataDir)
		}
		return nil, &hintError{err: err, hint: notRunningHint}
	}
	if err != nil {
		return nil, err
	}
	conn, err := a.dial(e.Address, endpoint.Server, e.Files)
	if err != nil {
		return nil, err
	}
	a.dialled = newClients(conn, conn, conn)
	return a.dialled, nil
}

func (a *app) dial(target, server string, files tlsconf.Files) (*grpc.ClientConn, error) {
	tls, err := tlsconf.MutualClient(files, server, tlsconf.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("set up connection to %s: %w", target, err)
	}
	conn, err := rpc.Dial(target, rpc.DialOptions{TLS: tls, Timeout: a.timeout})
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, conn)
	return conn, nil
}

// unnamed is the connection of a service whose address was not given: it is an error only if it is needed.
type unnamed struct{ err error }

// Invoke implements grpc.ClientConnInterface.
func (u unnamed) Invoke(context.Context, string, any, any, ...grpc.CallOption) error { return u.err }

// NewStream implements grpc.ClientConnInterface.
func (u unnamed) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, u.err
}
