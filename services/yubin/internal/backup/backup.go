// Package backup copies the embedded stores of a data directory, also while the system runs, and puts a copy back.
package backup

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver
)

// services have a database of their own, <service>/<service>.db. Storage comes first: what quota and the directory know may be newer.
var services = []string{"storage", "quota", "directory"}

// bodies are where the embedded object store keeps its objects, in the data directory.
var bodies = filepath.Join("storage", "bodies", "objects")

// infoFile says that a backup is whole.
const infoFile = "backup.json"

// Info describes a whole backup.
type Info struct {
	// Taken is when the copy of the first database began: mail that came later is not in it.
	Taken   time.Time `json:"taken"`
	Version string    `json:"version"`
}

// Result is what was copied.
type Result struct {
	Info
	// Objects and Bytes are those copied now; Kept objects were there from an earlier backup, Pruned are gone from it.
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
	Kept    int   `json:"kept_objects"`
	Pruned  int   `json:"pruned_objects"`
}

// Progress is told of each object.
type Progress func(objects int, bytes int64)

// Options of Run.
type Options struct {
	// Data is the data directory, To where the copy goes; an earlier one is brought up to date.
	Data, To string
	// Prune removes objects from the copy that are gone from the data directory.
	Prune    bool
	Version  string
	Progress Progress
}

// Run copies the databases first and the bodies second: a body is there before its row is, and goes later. While it runs the copy does not
// count as whole.
func Run(ctx context.Context, o Options) (*Result, error) {
	if _, err := os.Stat(filepath.Join(o.Data, "storage", "storage.db")); err != nil {
		return nil, fmt.Errorf("find the stores: %w", err)
	}
	if err := os.MkdirAll(o.To, 0o700); err != nil {
		return nil, fmt.Errorf("make backup directory: %w", err)
	}
	if err := os.Remove(filepath.Join(o.To, infoFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("begin backup: %w", err)
	}
	r := &Result{Info: Info{Taken: time.Now().UTC().Truncate(time.Second), Version: o.Version}}
	for _, service := range services {
		from, to := databaseFile(o.Data, service), databaseFile(o.To, service)
		if err := copyDatabase(ctx, from, to); err != nil {
			return nil, fmt.Errorf("copy database of %s: %w", service, err)
		}
	}
	c := copier{from: filepath.Join(o.Data, bodies), to: filepath.Join(o.To, bodies), progress: o.Progress, result: r}
	if err := c.run(ctx, o.Prune); err != nil {
		return nil, fmt.Errorf("copy bodies: %w", err)
	}
	return r, nil
}

// Complete makes a copy count as whole, once it was checked.
func Complete(o Options, r *Result) error {
	text, err := json.MarshalIndent(r.Info, "", "  ")
	if err != nil {
		return fmt.Errorf("end backup: %w", err)
	}
	if err := writeFile(filepath.Join(o.To, infoFile), append(text, '\n')); err != nil {
		return fmt.Errorf("end backup: %w", err)
	}
	return nil
}

// Read gives the description of a backup; it fails if the backup is not whole.
func Read(dir string) (Info, error) {
	var info Info
	text, err := os.ReadFile(filepath.Join(dir, infoFile)) // #nosec G304 -- the operator names the folder
	if errors.Is(err, fs.ErrNotExist) {
		return info, fmt.Errorf("%s is no backup, or was interrupted: there is no %s in it", dir, infoFile)
	}
	if err == nil {
		err = json.Unmarshal(text, &info)
	}
	if err != nil {
		return info, fmt.Errorf("read backup: %w", err)
	}
	return info, nil
}

func databaseFile(dir, service string) string { return filepath.Join(dir, service, service+".db") }

// copyDatabase copies a SQLite database in one read transaction, which writers do not disturb and which does not disturb them.
func copyDatabase(ctx context.Context, from, to string) (err error) {
	from, err = filepath.Abs(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	tmp := to + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	name := (&url.URL{Scheme: "file", Path: from, RawQuery: url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(30000)"}}.Encode()}).String()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, tmp)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := syncFile(tmp); err != nil {
		return err
	}
	return rename(tmp, to)
}
