package object_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/object/objecttest"
)

func openDir(t *testing.T, name string) *object.Dir {
	t.Helper()
	d, err := object.OpenDir(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestDir(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) object.Store { return openDir(t, filepath.Join(t.TempDir(), "new", "objects")) })
}

func TestInstrumented(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) object.Store {
		return object.Instrument(openDir(t, t.TempDir()), prometheus.NewRegistry())
	})
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := object.Instrument(openDir(t, t.TempDir()), reg)
	if err := s.Put(t.Context(), "a", strings.NewReader("12345"), 5); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "a", strings.NewReader("12345"), 6); err == nil {
		t.Error("wrong size passes")
	}
	if _, err := s.Stat(t.Context(), "b"); err == nil {
		t.Error("missing object passes")
	}
	r, err := s.GetRange(t.Context(), "a", 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	want := `
# HELP yubin_storage_object_bytes_total Octets read from and written to the object store.
# TYPE yubin_storage_object_bytes_total counter
yubin_storage_object_bytes_total{op="get"} 0
yubin_storage_object_bytes_total{op="put"} 10
yubin_storage_object_bytes_total{op="range"} 3
# HELP yubin_storage_object_operations_total Operations on the object store by operation and result; a range is a get of a part.
# TYPE yubin_storage_object_operations_total counter
yubin_storage_object_operations_total{op="delete",result="error"} 0
yubin_storage_object_operations_total{op="delete",result="full"} 0
yubin_storage_object_operations_total{op="delete",result="ok"} 0
yubin_storage_object_operations_total{op="get",result="error"} 0
yubin_storage_object_operations_total{op="get",result="full"} 0
yubin_storage_object_operations_total{op="get",result="ok"} 0
yubin_storage_object_operations_total{op="list",result="error"} 0
yubin_storage_object_operations_total{op="list",result="full"} 0
yubin_storage_object_operations_total{op="list",result="ok"} 0
yubin_storage_object_operations_total{op="put",result="error"} 1
yubin_storage_object_operations_total{op="put",result="full"} 0
yubin_storage_object_operations_total{op="put",result="ok"} 1
yubin_storage_object_operations_total{op="range",result="error"} 0
yubin_storage_object_operations_total{op="range",result="full"} 0
yubin_storage_object_operations_total{op="range",result="ok"} 1
yubin_storage_object_operations_total{op="stat",result="error"} 0
yubin_storage_object_operations_total{op="stat",result="full"} 0
yubin_storage_object_operations_total{op="stat",result="not_found"} 1
yubin_storage_object_operations_total{op="stat",result="ok"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "yubin_storage_object_bytes_total", "yubin_storage_object_operations_total"); err != nil {
		t.Error(err)
	}
}

func TestDirIsLocked(t *testing.T) {
	name := t.TempDir()
	d, err := object.OpenDir(name)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := object.OpenDir(name); err == nil {
		t.Errorf("opened twice; closing says %v", second.Close())
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	openDir(t, name)
}

func TestDirRemovesTemps(t *testing.T) {
	name := t.TempDir()
	d, err := object.OpenDir(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), "a/b", strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(name, "tmp", "77")
	if err := os.WriteFile(left, []byte("half an obj"), 0o600); err != nil {
		t.Fatal(err)
	}
	d = openDir(t, name)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what a crash left in tmp is still there: %v", err)
	}
	if _, err := d.Stat(t.Context(), "a/b"); err != nil {
		t.Error(err)
	}
}

// A link planted in the directory must not lead out of it.
func TestDirDoesNotFollowLinksOut(t *testing.T) {
	name, outside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := openDir(t, name)
	if err := os.Symlink(outside, filepath.Join(name, "objects", "=secret")); err != nil {
		t.Fatal(err)
	}
	if r, err := d.GetRange(t.Context(), "secret", 0, -1); err == nil {
		t.Errorf("read through a link; closing says %v", r.Close())
	}
	if err := d.Put(t.Context(), "secret", strings.NewReader("x"), 1); err == nil {
		t.Error("wrote through a link")
	}
}

func TestDirRemovesEmptyFolders(t *testing.T) {
	name := t.TempDir()
	d := openDir(t, name)
	for _, key := range []string{"packs/20260130/0194b9a1-x", "packs/20260131/0194b9a1-x"} {
		if err := d.Put(t.Context(), key, strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Delete(t.Context(), "packs/20260130/0194b9a1-x"); err != nil {
		t.Fatal(err)
	}
	days, err := os.ReadDir(filepath.Join(name, "objects", "packs"))
	if err != nil || len(days) != 1 || days[0].Name() != "20260131" {
		t.Errorf("folders left: %v, %v", days, err)
	}
}
