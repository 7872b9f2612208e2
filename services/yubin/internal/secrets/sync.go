package secrets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/yubin-mail/yubin/pkg/tlsconf"
)

// attempts is how often work begins again that another was faster with.
const attempts = 5

// Wanted are the Secrets to keep filled. All must exist; who makes them decides who else may read them.
type Wanted struct {
	// Prefix and a service's name make the name of its Secret, with ca.crt, tls.crt and tls.key. Prefix and "ca" make that of the authority
	// (ca.crt, ca.key).
	Prefix   string
	Services []string
	// Hosts stand in the services' certificates; they are not compared.
	Hosts []string
	// Public is the Secret of a self-signed certificate for mail programs (tls.crt, tls.key), valid for PublicHosts; empty: none.
	Public      string
	PublicHosts []string
}

// Sync makes the authority and the certificates that are missing, and renews those with less than a third of their life left. It may be
// run at any time, also twice at once. It gives the names of the Secrets that were changed.
func Sync(ctx context.Context, c *Client, w Wanted) ([]string, error) {
	var changed []string
	for try := 1; ; try++ {
		names, err := syncOnce(ctx, c, w)
		changed = append(changed, names...)
		if !errors.Is(err, ErrConflict) || try == attempts {
			return changed, err
		}
	}
}

func syncOnce(ctx context.Context, c *Client, w Wanted) ([]string, error) {
	dir, err := os.MkdirTemp("", "yubin-certificates-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var changed []string
	update := func(name, kept string, keys map[string]string, change func() error) error {
		done, err := updateKeys(ctx, c, name, keys, kept, change)
		if done {
			changed = append(changed, name)
		}
		return err
	}

	// The authority comes first, and is in its Secret before anything is signed: of two that make one, only one goes on with it.
	var authority *tlsconf.Authority
	ca := map[string]string{"ca.crt": filepath.Join(dir, "ca.crt"), "ca.key": filepath.Join(dir, "ca.key")}
	err = update(w.Prefix+"ca", "", ca, func() error {
		authority, err = tlsconf.NewAuthority(dir)
		return err
	})
	if err != nil {
		return changed, err
	}
	for _, service := range w.Services {
		files := map[string]string{
			"ca.crt":  ca["ca.crt"],
			"tls.crt": filepath.Join(dir, service+".crt"),
			"tls.key": filepath.Join(dir, service+".key"),
		}
		// What the Secret says of the authority must not replace the authority's own file.
		err := update(w.Prefix+service, "ca.crt", files, func() error {
			_, err := authority.Issue(service, w.Hosts...)
			return err
		})
		if err != nil {
			return changed, err
		}
	}
	if w.Public == "" {
		return changed, nil
	}
	public := filepath.Join(dir, "public")
	if err := os.Mkdir(public, 0o700); err != nil {
		return changed, err
	}
	files := map[string]string{"tls.crt": filepath.Join(public, "tls.crt"), "tls.key": filepath.Join(public, "tls.key")}
	err = update(w.Public, "", files, func() error {
		_, _, err := tlsconf.SelfSigned(public, w.PublicHosts...)
		return err
	})
	return changed, err
}

// updateKeys writes a Secret's keys to files, except the one that is kept, lets change work on them, and writes the Secret if they differ then.
func updateKeys(ctx context.Context, c *Client, name string, keys map[string]string, kept string, change func() error) (bool, error) {
	s, err := c.Get(ctx, name)
	if err != nil {
		return false, err
	}
	for key, file := range keys {
		if data := s.Data[key]; len(data) > 0 && key != kept {
			if err := os.WriteFile(file, data, 0o600); err != nil {
				return false, err
			}
		}
	}
	if err := change(); err != nil {
		return false, fmt.Errorf("make what Secret %s holds: %w", name, err)
	}
	next := Secret{Data: map[string][]byte{}, version: s.version}
	same := true
	for key, file := range keys {
		if next.Data[key], err = os.ReadFile(file); err != nil {
			return false, err
		}
		same = same && bytes.Equal(next.Data[key], s.Data[key])
	}
	if same {
		return false, nil
	}
	return true, c.Put(ctx, name, next)
}
