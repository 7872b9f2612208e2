package cli

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/yubin-mail/yubin/pkg/tlsconf"
	"github.com/yubin-mail/yubin/services/yubin/internal/secrets"
)

const certificatesLong = `Services that run as separate processes know each other by certificates of one authority of their own: each has the
URI SAN spiffe://yubin/<service>, and the services' methods list who may call them. This makes the authority in a directory, and
certificates for services: smtp, pop3, imap, storage, quota, directory, and admin for this command line tool.

Give the files to the service as --rpc-ca, --rpc-cert and --rpc-key. Run it again to renew: a certificate that has more than a third of its life
left stays, and running services read a new one without a restart. Keep ca.key away from the services: who has it can be any of them.`

func newCertificates(a *app) *cobra.Command {
	var dir string
	var hosts []string
	var wanted secrets.Wanted
	cmd := &cobra.Command{
		Use:   "certificates SERVICE…",
		Short: "Make the certificates by which separate services know each other",
		Long:  certificatesLong,
		Example: `  yubin certificates --dir /etc/yubin/certs storage --host storage.internal
  yubin certificates --dir ./certs --host localhost smtp pop3 imap storage quota directory admin`,
		Args: checked(positional(1, -1), func(cmd *cobra.Command, _ []string) error {
			if wanted.Prefix != "" && (wanted.Public != "") != (len(wanted.PublicHosts) > 0) || wanted.Prefix == "" && wanted.Public != "" {
				return usagef(cmd, "--public needs --secrets and --public-host")
			}
			return nil
		}),
		ValidArgs: []string{"smtp", "pop3", "imap", "storage", "quota", "directory", "admin"},
		RunE: a.local(func(cmd *cobra.Command, services []string) error {
			if wanted.Prefix != "" {
				wanted.Services, wanted.Hosts = services, hosts
				return a.certificateSecrets(cmd.Context(), wanted)
			}
			if len(wanted.PublicHosts) > 0 {
				if _, _, err := tlsconf.SelfSigned(filepath.Join(dir, "public"), wanted.PublicHosts...); err != nil {
					return err
				}
			}
			authority, err := tlsconf.NewAuthority(dir)
			if err != nil {
				return err
			}
			for _, service := range services {
				files, err := authority.Issue(service, hosts...)
				if err != nil {
					return err
				}
				err = a.done(map[string]string{"service": service, "ca": files.CA, "cert": files.Cert, "key": files.Key},
					"%s: --rpc-ca %s --rpc-cert %s --rpc-key %s", service, files.CA, files.Cert, files.Key)
				if err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&dir, "dir", "certs", "directory of the authority and the certificates")
	cmd.Flags().StringSliceVar(&hosts, "host", []string{"localhost"}, "host name or address under which the services are called; repeat it for several")
	cmd.Flags().StringVar(&wanted.Prefix, "secrets", "", "keep them in Secrets of Kubernetes whose names begin so, in the namespace of this pod")
	cmd.Flags().StringVar(&wanted.Public, "public", "", "with --secrets: keep a self-signed certificate for mail programs in this Secret")
	cmd.Flags().StringSliceVar(&wanted.PublicHosts, "public-host", nil, "host name in a self-signed certificate for mail programs: public/tls.crt, or with --secrets that of --public; repeat it for several")
	cmd.MarkFlagsMutuallyExclusive("dir", "secrets")
	_ = cmd.MarkFlagDirname("dir") // fails only if there is no such flag
	return cmd
}

func (a *app) certificateSecrets(ctx context.Context, wanted secrets.Wanted) error {
	client, err := secrets.InCluster()
	if err != nil {
		return err
	}
	changed, err := secrets.Sync(ctx, client, wanted)
	for _, name := range changed {
		if err := a.done(map[string]string{"secret": name}, "%s written", name); err != nil {
			return err
		}
	}
	return err
}
