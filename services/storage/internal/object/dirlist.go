package object

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
)

// List implements Store. It holds the names of one folder of objects at a time.
func (d *Dir) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		l := lister{d: d, ctx: ctx, prefix: prefix, after: after, yield: yield}
		if _, err := l.walk(objectsDir, ""); err != nil {
			yield(Info{}, fmt.Errorf("list objects: %w", err))
		}
	}
}

type lister struct {
	d             *Dir
	ctx           context.Context
	prefix, after string
	yield         func(Info, error) bool
}

// none tells that no key which begins with start is asked for.
func (l *lister) none(start string) bool {
	outside := !strings.HasPrefix(start, l.prefix) && !strings.HasPrefix(l.prefix, start)
	return outside || start < l.after && !strings.HasPrefix(l.after, start)
}

// walk lists the objects in dir, whose keys begin with base; more is false when the caller has enough.
//
// What lies in dir is taken by the first shardLen octets of its name, where a folder's name ends with '/' as it does in the keys: these
// groups, and the names in one, are in the order of the keys.
func (l *lister) walk(dir, base string) (more bool, err error) {
	names, err := l.names(dir)
	if err != nil {
		return false, err
	}
	groups := make(map[string][]string)
	for _, name := range names {
		if shard, ok := strings.CutPrefix(name, shardMark); ok {
			groups[shard] = append(groups[shard], name)
			continue
		}
		name += "/"
		group := name[:min(len(name), shardLen)]
		groups[group] = append(groups[group], name)
	}
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		if l.none(base + group) {
			continue
		}
		if more, err := l.group(dir, base, groups[group]); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

// group lists folders of dir, and the objects of those that are shards, in one order.
func (l *lister) group(dir, base string, folders []string) (more bool, err error) {
	where := make(map[string]string, len(folders))
	for _, folder := range folders {
		if !strings.HasPrefix(folder, shardMark) {
			where[folder] = path.Join(dir, folder)
			continue
		}
		files, err := l.names(path.Join(dir, folder))
		if err != nil {
			return false, err
		}
		for _, file := range files {
			where[file] = path.Join(dir, folder, file)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(where)) {
		key := base + name
		if strings.HasSuffix(name, "/") {
			if l.none(key) {
				continue
			}
			if more, err := l.walk(where[name], key); !more || err != nil {
				return false, err
			}
			continue
		}
		if !strings.HasPrefix(key, l.prefix) || key <= l.after {
			continue
		}
		if more, err := l.object(where[name], key); !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (l *lister) object(file, key string) (more bool, err error) {
	if err := l.ctx.Err(); err != nil {
		return false, err
	}
	info, err := l.d.root.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return l.yield(Info{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil), nil
}

// names of what lies in a folder; one that has gone meanwhile is empty.
func (l *lister) names(dir string) ([]string, error) {
	if err := l.ctx.Err(); err != nil {
		return nil, err
	}
	f, err := l.d.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(ignoreMissing(err), f.Close())
}
