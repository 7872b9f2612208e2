package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Restore copies a whole backup into a data directory that has no stores. The locks and what `yubin serve` makes anew may be there.
func Restore(ctx context.Context, from, data string, progress Progress) (*Result, error) {
	info, err := Read(from)
	if err != nil {
		return nil, err
	}
	for _, service := range services {
		entries, err := os.ReadDir(filepath.Join(data, service))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("look at the data directory: %w", err)
		}
		if len(entries) > 0 {
			return nil, fmt.Errorf("%s is not empty: restore into a new data directory", filepath.Join(data, service))
		}
	}
	r := &Result{Info: info}
	c := copier{from: filepath.Join(from, bodies), to: filepath.Join(data, bodies), progress: progress, result: r}
	if err := c.run(ctx, false); err != nil {
		return nil, fmt.Errorf("copy bodies: %w", err)
	}
	// The databases come last: without them the data directory is plainly not restored.
	for _, service := range services {
		if err := os.MkdirAll(filepath.Join(data, service), 0o700); err != nil {
			return nil, fmt.Errorf("make directory of %s: %w", service, err)
		}
		if err := c.file(databaseFile(from, service), databaseFile(data, service)); err != nil {
			return nil, fmt.Errorf("copy database of %s: %w", service, err)
		}
	}
	return r, nil
}
