package sqldb

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
)

func configured(t *testing.T, args ...string) *Config {
	t.Helper()
	c := &Config{}
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.Flags(fs, "quota")
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfigNamesAllThatIsWrong(t *testing.T) {
	t.Setenv("PGSSLMODE", "")
	for _, c := range []struct {
		args []string
		want []string
	}{
		{nil, nil},
		{[]string{"--quota-database-url=postgres://u:hunter2@localhost/db"}, nil},
		{[]string{"--quota-database-url=postgres:///db?host=/run/postgresql"}, nil},
		{[]string{"--quota-database-url=postgresql://u:hunter2@db.example:5432/db?sslmode=verify-full"}, nil},
		{[]string{"--quota-database-url=postgres://u:hunter2@a.example,b.example/db?sslmode=disable&target_session_attrs=read-write", "--quota-database-statement-timeout=0"}, nil},
		{[]string{"--quota-database-url=postgres://u:hunter2@localhost,db.example/db"}, []string{"sslmode"}},
		{[]string{"--quota-database-url=mysql://u:hunter2@localhost/db"}, []string{"begins with postgres://"}},
		{[]string{"--quota-database-url=postgres://u:hunter2@localhost:port/db"}, []string{"cannot be used"}},
		{[]string{"--quota-database-url=postgres://u:hunter2@localhost/db?sslmode=sometimes"}, []string{"sslmode"}},
		{[]string{"--quota-database-url=postgres://u:hunter2@localhost/db?sslrootcert=/nonexistent/ca.pem&sslmode=verify-ca"}, []string{"ca.pem"}},
		{[]string{"--quota-database-url=postgres://u:hunter2@localhost"}, []string{"names no database"}},
		{
			[]string{"--quota-database-url=postgres://u:hunter2@db.example", "--quota-database-max-connections=1", "--quota-database-statement-timeout=1ms", "--quota-database-connect-timeout=1h"},
			[]string{"quota-database-max-connections", "quota-database-statement-timeout", "quota-database-connect-timeout", "names no database", "sslmode"},
		},
	} {
		errs := configured(t, c.args...).Validate()
		if len(errs) != len(c.want) {
			t.Errorf("%q: %v, want %q", c.args, errs, c.want)
			continue
		}
		for i, want := range c.want {
			if text := errs[i].Error(); !strings.Contains(text, want) || strings.Contains(text, "hunter2") {
				t.Errorf("%q: %v, want %q", c.args, text, want)
			}
		}
	}
}

func TestConfigOpens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "folder", "quota.db")
	for name, args := range map[string][]string{
		"sqlite":   nil,
		"postgres": {"--quota-database-url=" + postgres.Start(t).Database(t)},
	} {
		c := configured(t, args...)
		db, err := c.Open(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(db.Dialect().Name, c.Embedded()); got != fmt.Sprint(name, name == "sqlite") {
			t.Errorf("opened %s, want %s", got, name)
		}
		if err := db.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
