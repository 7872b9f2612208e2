package backup

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// copier copies a tree of files that never change.
type copier struct {
	from, to string
	progress Progress
	result   *Result
}

func (c *copier) run(ctx context.Context, prune bool) error {
	if err := os.MkdirAll(c.to, 0o700); err != nil {
		return err
	}
	err := filepath.WalkDir(c.from, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it was deleted meanwhile, or there are none yet
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		rel, err := filepath.Rel(c.from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(c.to, rel)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		return c.file(path, target)
	})
	if err != nil || !prune {
		return err
	}
	return c.prune(ctx)
}

// file copies one file, unless it is there already.
func (c *copier) file(from, to string) error {
	in, err := os.Open(from) // #nosec G304 -- in the data directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if old, err := os.Stat(to); err == nil && old.Size() == info.Size() {
		c.result.Kept++
		return nil
	}
	out, err := os.OpenFile(to+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) // #nosec G304 -- in the backup
	if err != nil {
		return err
	}
	n, err := io.Copy(out, in)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return err
	}
	if err := rename(to+".tmp", to); err != nil {
		return err
	}
	c.result.Objects++
	c.result.Bytes += n
	if c.progress != nil {
		c.progress(c.result.Objects, c.result.Bytes)
	}
	return nil
}

// prune removes files of the copy that are gone from the original.
func (c *copier) prune(ctx context.Context) error {
	root, err := os.OpenRoot(c.to)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // only a descriptor
	return fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if _, err := os.Stat(filepath.Join(c.from, name)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		c.result.Pruned++
		return root.Remove(name)
	})
}

// writeFile writes a small file durably.
func writeFile(name string, text []byte) error {
	if err := os.WriteFile(name+".tmp", text, 0o600); err != nil {
		return err
	}
	if err := syncFile(name + ".tmp"); err != nil {
		return err
	}
	return rename(name+".tmp", name)
}

// rename puts a file in its place, durably.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncFile(filepath.Dir(to))
}

func syncFile(name string) error {
	f, err := os.Open(name) // #nosec G304 -- in the backup
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
