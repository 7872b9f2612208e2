package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	objectsDir = "objects"
	tempDir    = "tmp"
	lockFile   = "lock"
)

// shardMark begins the name of a folder that holds objects; no key contains it, so an object "a" and objects "a/b" do not collide.
const shardMark = "="

// shardLen octets of an object's name choose its folder. The hexadecimal digits of a UUIDv7 begin with its time in milliseconds:
// seven of them make a folder of what came in 17 minutes. A beginning, not a hash, so that folders are in the order of their keys.
const shardLen = 7

// Dir is a Store in a directory:
//
//	lock               held by the process that has it open
//	tmp/<n>            objects being written
//	objects/packs/20260131/=0194b9a/0194b9a1-…
//
// An object is written to tmp, renamed to its place, and then it and its folder (and each new parent) are synced. A loss of power before that may
// leave a part of it, which nobody was told of: an orphan.
type Dir struct {
	root *os.Root
	lock *os.File
	temp atomic.Uint64

	// shape is held for reading while an object goes into its folder and for writing while empty folders are removed.
	shape sync.RWMutex
	// synced holds the folders whose entries in their parents are known to be durable.
	syncedMu sync.Mutex
	synced   map[string]struct{}
}

var (
	_ Store   = (*Dir)(nil)
	_ Limited = (*Dir)(nil)
)

// maxSynced bounds the memory of what is known about folders; forgetting costs a sync.
const maxSynced = 10_000

// OpenDir opens the store in the directory at name, making it if need be, and removes what unfinished writes have left.
// It fails if another process has the directory open.
func OpenDir(name string) (*Dir, error) {
	if err := makeDir(name); err != nil {
		return nil, fmt.Errorf("make object directory: %w", err)
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("open object directory: %w", err)
	}
	d := &Dir{root: root, synced: make(map[string]struct{})}
	if err := d.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("open object directory %s: %w", name, err), d.Close())
	}
	return d, nil
}

// makeDir makes a directory with its parents, durably.
func makeDir(name string) error {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(filepath.Clean(name))
	if parent != name {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.Open(parent)
	if err != nil {
		return err
	}
	return syncClose(f)
}

func (d *Dir) prepare() error {
	var err error
	if d.lock, err = d.root.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if err := syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("lock (is another process using it?): %w", err)
	}
	if err := d.root.RemoveAll(tempDir); err != nil {
		return err
	}
	if err := d.root.Mkdir(tempDir, 0o700); err != nil {
		return err
	}
	if err := d.root.Mkdir(objectsDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.syncDir(".")
}

// Close releases the directory for another process.
func (d *Dir) Close() error {
	var lock error
	if d.lock != nil {
		lock = d.lock.Close()
	}
	return errors.Join(lock, d.root.Close())
}

// Free implements Limited: what the file system has for a process without privileges.
func (d *Dir) Free() (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Fstatfs(int(d.lock.Fd()), &s); err != nil {
		return 0, fmt.Errorf("measure object directory: %w", err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// place gives an object's folder and file.
func place(key string) (dir, file string) {
	parent, name := path.Split(key)
	dir = path.Join(objectsDir, parent, shardMark+name[:min(len(name), shardLen)])
	return dir, path.Join(dir, name)
}

// Put implements Store.
func (d *Dir) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	if err := CheckKey(key); err != nil {
		return fmt.Errorf("put object: %w", err)
	}
	if err := d.put(ctx, key, r, size); err != nil {
		if NoSpace(err) {
			return fmt.Errorf("put object %s: %w: %w", key, ErrFull, err)
		}
		return fmt.Errorf("put object %s: %w", key, err)
	}
	return nil
}

func (d *Dir) put(ctx context.Context, key string, r io.Reader, size int64) (err error) {
	temp := path.Join(tempDir, strconv.FormatUint(d.temp.Add(1), 10))
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(d.root.Remove(temp)))
		}
	}()
	f, err := d.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // what was written is synced before that counts
	if err := copySized(ctx, f, r, size); err != nil {
		return err
	}

	dir, file := place(key)
	d.shape.RLock()
	defer d.shape.RUnlock()
	if err := d.ensureDir(dir); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.root.Rename(temp, file); err != nil {
		return err
	}
	// After the rename, and both at a time: they wait for one and the same write of a journal.
	synced := make(chan error, 1)
	go func() { synced <- d.syncDir(dir) }()
	if err := errors.Join(f.Sync(), <-synced); err != nil {
		// Visible but perhaps not durable: take it back, for the caller will hold that it is not there.
		return errors.Join(err, ignoreMissing(d.root.Remove(file)))
	}
	return nil
}

var copyBuffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// copySized copies exactly size octets (or all, if SizeUnknown), and stops when ctx ends.
func copySized(ctx context.Context, w io.Writer, r io.Reader, size int64) error {
	pooled := copyBuffers.Get().(*[128 << 10]byte)
	defer copyBuffers.Put(pooled)
	buf := pooled[:]
	var n int64
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := r.Read(buf)
		n += int64(m)
		if size >= 0 && n > size {
			return fmt.Errorf("%w: more than %d octets", ErrSize, size)
		}
		if _, err := w.Write(buf[:m]); err != nil {
			return err
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read content: %w", err)
		}
	}
	if size >= 0 && n < size {
		return fmt.Errorf("%w: %d of %d octets", ErrSize, n, size)
	}
	return nil
}

// ensureDir makes a folder and its parents below objectsDir, durably. That a folder exists does not say that its maker has synced it yet.
func (d *Dir) ensureDir(dir string) error {
	if dir == objectsDir || d.isSynced(dir) {
		return nil
	}
	parent := path.Dir(dir)
	if err := d.ensureDir(parent); err != nil {
		return err
	}
	if err := d.root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.syncDir(parent); err != nil {
		return err
	}
	d.syncedMu.Lock()
	defer d.syncedMu.Unlock()
	if len(d.synced) >= maxSynced {
		clear(d.synced)
	}
	d.synced[dir] = struct{}{}
	return nil
}

func (d *Dir) isSynced(dir string) bool {
	d.syncedMu.Lock()
	defer d.syncedMu.Unlock()
	_, ok := d.synced[dir]
	return ok
}

func (d *Dir) syncDir(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	return syncClose(f)
}

func syncClose(f *os.File) error {
	return errors.Join(f.Sync(), f.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// GetRange implements Store.
func (d *Dir) GetRange(_ context.Context, key string, off, n int64) (io.ReadCloser, error) {
	f, size, err := d.open(key)
	if err != nil {
		return nil, fmt.Errorf("get object: %w", err)
	}
	if off < 0 {
		return nil, errors.Join(fmt.Errorf("get object %s: negative offset %d", key, off), f.Close())
	}
	if n < 0 || n > size-off {
		n = max(size-off, 0)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, off, n), f}, nil
}

func (d *Dir) open(key string) (*os.File, int64, error) {
	if err := CheckKey(key); err != nil {
		return nil, 0, err
	}
	_, file := place(key)
	f, err := d.root.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("%w: %s", ErrNotFound, key)
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// Stat implements Store.
func (d *Dir) Stat(_ context.Context, key string) (Info, error) {
	if err := CheckKey(key); err != nil {
		return Info{}, fmt.Errorf("stat object: %w", err)
	}
	_, file := place(key)
	info, err := d.root.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Info{}, fmt.Errorf("stat object: %w: %s", ErrNotFound, key)
	}
	if err != nil {
		return Info{}, fmt.Errorf("stat object: %w", err)
	}
	return Info{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

// Delete implements Store. A crash may bring a deleted object back.
func (d *Dir) Delete(_ context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return fmt.Errorf("delete object: %w", err)
	}
	dir, file := place(key)
	if err := ignoreMissing(d.root.Remove(file)); err != nil {
		return fmt.Errorf("delete object: %w", err)
	}
	d.prune(dir)
	return nil
}

// prune removes a folder and its parents as far as they are empty. It is tidiness only, so that it may fail.
func (d *Dir) prune(dir string) {
	if !d.isEmpty(dir) {
		return
	}
	d.shape.Lock()
	defer d.shape.Unlock()
	for ; dir != objectsDir; dir = path.Dir(dir) {
		if d.root.Remove(dir) != nil {
			return
		}
		d.syncedMu.Lock()
		delete(d.synced, dir)
		d.syncedMu.Unlock()
	}
}

func (d *Dir) isEmpty(dir string) bool {
	f, err := d.root.Open(dir)
	if err != nil {
		return false
	}
	_, err = f.Readdirnames(1)
	return f.Close() == nil && errors.Is(err, io.EOF)
}
