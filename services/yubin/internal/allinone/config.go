// Package allinone runs all services in one process on the embedded stores. They call each other through the same
// interfaces as over gRPC, with the same checks of who may call what.
package allinone

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/service"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	autoconfig "github.com/yubin-mail/yubin/services/autoconfig/server"
	directory "github.com/yubin-mail/yubin/services/directory/server"
	imap "github.com/yubin-mail/yubin/services/imap/server"
	pop3 "github.com/yubin-mail/yubin/services/pop3/server"
	quota "github.com/yubin-mail/yubin/services/quota/server"
	smtp "github.com/yubin-mail/yubin/services/smtp/server"
	storage "github.com/yubin-mail/yubin/services/storage/server"
	"github.com/yubin-mail/yubin/services/yubin/internal/demo"
)

// config is the settings of all services, and what they have in common in one process.
type config struct {
	directory directory.Config
	quota     quota.Config
	storage   storage.Config
	smtp      smtp.Config
	pop3      pop3.Config
	imap      imap.Config

	autoconfig autoconfig.Config

	dataDir         string
	adminRPCListen  string
	hostname        string
	tlsCert, tlsKey string
	demo            bool

	flags *pflag.FlagSet
}

// Flags declares the settings.
func (c *config) Flags(fs *pflag.FlagSet) {
	c.flags = fs
	service.DataDirVar(fs, &c.dataDir)
	fs.BoolVar(&c.demo, "demo", false, "on loopback only: a self-signed certificate, the domain example.test, two accounts and ports that need no root")
	fs.StringVar(&c.adminRPCListen, "admin-rpc-listen", "127.0.0.1:7100", "address on which the command line tool calls this process, over mTLS")
	fs.StringVar(&c.hostname, "hostname", "", "sets the host name of all gateways: --smtp-hostname, --pop3-hostname, --imap-hostname, --autoconfig-hostname")
	fs.StringVar(&c.tlsCert, "tls-cert", "", "sets the certificate of all gateways: --smtp-tls-cert, --pop3-tls-cert, --imap-tls-cert, --autoconfig-tls-cert")
	fs.StringVar(&c.tlsKey, "tls-key", "", "sets the key of all gateways: --smtp-tls-key, --pop3-tls-key, --imap-tls-key, --autoconfig-tls-key")
	c.smtp.Flags(fs)
	c.pop3.Flags(fs)
	c.imap.Flags(fs)
	c.storage.Flags(fs)
	c.quota.Flags(fs)
	c.directory.Flags(fs)
	c.autoconfig.Flags(fs)
}

// Complete sets what nobody gave: what the gateways have in common, and the demo's settings.
func (c *config) Complete(*pflag.FlagSet) error {
	c.directories()
	if err := c.fill(c.shared()); err != nil {
		return err
	}
	if !c.demo {
		return c.fill(c.offered())
	}
	if err := c.fill(demo.Settings()); err != nil {
		return err
	}
	if err := c.fill(c.offered()); err != nil {
		return err
	}
	if err := demo.OnlyLoopback(c.listeners()); err != nil || c.tlsCert != "" {
		return err
	}
	var err error
	c.tlsCert, c.tlsKey, err = tlsconf.SelfSigned(filepath.Join(c.dataDir, "tls"), "localhost", "127.0.0.1", "::1")
	if err != nil {
		return fmt.Errorf("make demo certificate: %w", err)
	}
	return c.fill(c.shared())
}

// directories gives each service its own in the data directory.
func (c *config) directories() {
	c.directory.Dir = filepath.Join(c.dataDir, "directory")
	c.quota.Dir = filepath.Join(c.dataDir, "quota")
	c.storage.Dir = filepath.Join(c.dataDir, "storage")
}

// shared are the settings of each gateway that follow from those for all.
func (c *config) shared() map[string]string {
	settings := map[string]string{}
	for _, gateway := range []string{"smtp", "pop3", "imap", "autoconfig"} {
		for name, value := range map[string]string{"hostname": c.hostname, "tls-cert": c.tlsCert, "tls-key": c.tlsKey} {
			if value != "" {
				settings[gateway+"-"+name] = value
			}
		}
	}
	return settings
}

// offered is what mail programs are told: the names of the gateways, and the ports on which they listen.
func (c *config) offered() map[string]string {
	out := map[string]string{
		"autoconfig-imap-hostname": c.imap.Hostname, "autoconfig-pop3-hostname": c.pop3.Hostname, "autoconfig-smtp-hostname": c.smtp.Hostname,
	}
	for name, address := range map[string]string{
		"imaps": c.imap.TLSListen, "imap": c.imap.Listen, "pop3s": c.pop3.TLSListen, "pop3": c.pop3.Listen,
		"submissions": c.smtp.SubmissionsListen, "submission": c.smtp.SubmissionListen,
	} {
		out["autoconfig-"+name+"-port"] = "0"
		if _, port, err := net.SplitHostPort(address); err == nil { // what is wrong, the gateway tells
			out["autoconfig-"+name+"-port"] = port
		}
	}
	return out
}

// fill sets the flags that nobody gave.
func (c *config) fill(settings map[string]string) error {
	for name, value := range settings {
		if c.flags.Changed(name) {
			continue
		}
		if err := c.flags.Set(name, value); err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
	}
	return nil
}

// listeners are all addresses that take connections, by flag.
func (c *config) listeners() map[string]string {
	out := map[string]string{}
	c.flags.VisitAll(func(f *pflag.Flag) {
		if strings.HasSuffix(f.Name, "-listen") {
			out[f.Name] = f.Value.String()
		}
	})
	return out
}

// Validate tells all that is wrong, of every service.
func (c *config) Validate() []error {
	var errs []error
	parts := []interface{ Validate() []error }{&c.smtp, &c.pop3, &c.imap, &c.storage, &c.quota, &c.directory}
	if c.autoconfig.Enabled() {
		parts = append(parts, &c.autoconfig)
	}
	for _, part := range parts {
		errs = append(errs, part.Validate()...)
	}
	return errs
}
