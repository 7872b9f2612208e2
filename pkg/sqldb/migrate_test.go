package sqldb

import (
	"errors"
	"testing"
	"testing/fstest"
)

func TestOlderProgramBesideANewerDatabase(t *testing.T) { onEach(t, testBeside) }

func testBeside(t *testing.T, db *DB) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	scripts := fstest.MapFS{
		"0001_one.sql":   file("CREATE TABLE one (id INTEGER);"),
		"0002_two.sql":   file("CREATE TABLE two (id INTEGER);"),
		"0003_three.sql": file("-- beside: 0002\nCREATE TABLE three (id INTEGER);"),
		"0004_four.sql":  file("-- Adds a table.\n-- beside: 0003\nCREATE TABLE four (id INTEGER);"),
	}
	upTo := func(n int) error {
		some := fstest.MapFS{}
		for name, f := range scripts {
			if int(name[3]-'0') <= n {
				some[name] = f
			}
		}
		return db.Migrate(t.Context(), some)
	}
	for step, c := range []struct {
		program int
		runs    bool
	}{{3, true}, {2, true}, {1, false}, {4, true}, {3, true}, {2, false}, {4, true}} {
		if err := upTo(c.program); (err == nil) != c.runs || (err != nil && !errors.Is(err, ErrNewer)) {
			t.Errorf("step %d: program %d: %v", step, c.program, err)
		}
	}
	for _, name := range []string{"0002", "0003"} {
		bad := fstest.MapFS{"0001_one.sql": scripts["0001_one.sql"], "0002_two.sql": file("-- beside: " + name + "\n")}
		if err := db.Migrate(t.Context(), bad); err == nil {
			t.Errorf("a migration that names %s was taken", name)
		}
	}
}
