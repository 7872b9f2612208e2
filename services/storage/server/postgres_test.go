package server

import (
	"context"
	"os"
	"os/exec"
	"testing"
)

// The environment tells a test process to run on PostgreSQL.
const postgresVariable = "YUBIN_TEST_STORAGE_ON_POSTGRESQL"

var overPostgres = os.Getenv(postgresVariable) != ""

// TestOnPostgreSQL runs all other tests again, in a process of its own, on PostgreSQL.
func TestOnPostgreSQL(t *testing.T) {
	if overPostgres {
		return // this is that process
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.timeout=14m"}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	c := exec.CommandContext(context.Background(), program, args...)
	c.Env = append(os.Environ(), postgresVariable+"=1")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("the tests on PostgreSQL: %v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
}
