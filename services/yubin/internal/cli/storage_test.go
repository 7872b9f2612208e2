package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// objects gives the files that hold bodies.
func (w *world) objects() (files []string) {
	w.t.Helper()
	err := filepath.WalkDir(filepath.Join(w.dir, "storage", "bodies", "objects", "packs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return files
}

func TestStorageIsVerifiedScrubbedAndCompacted(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	for i := range 3 {
		w.ok("import mbox %s --to alice@example.test --state %s%d", writeMbox(t, 2), filepath.Join(w.state, "s"), i)
	}
	before := len(w.objects())
	if before < 2 {
		t.Fatalf("there are %d objects", before)
	}
	summary := func(command string) summaryView {
		t.Helper()
		lines := jsonLines[auditLine](w, command)
		if len(lines) != 1 || lines[0].Summary == nil {
			t.Fatalf("yubin %s: %+v", command, lines)
		}
		return *lines[0].Summary
	}
	if s := summary("storage verify"); s.Bodies != 6 || s.Objects != int64(before) || s.Packs != s.Objects || s.Troubles != 0 || s.LiveBytes == 0 {
		t.Errorf("verified %+v", s)
	}
	if c := jsonLines[compactView](w, "storage compact --now")[0]; c.Packs != int64(before) || c.NewPacks != 1 || c.Frames != 6 || c.Objects != 1 {
		t.Errorf("compacted %+v", c)
	}
	if n := len(w.objects()); n != 1 {
		t.Errorf("%d objects are left", n)
	}
	want(t, w.ok("storage compact"), "Objects rewritten", "0, into 0")
	want(t, w.ok("storage verify"), "Held per live octet", "Troubles", "0")
	want(t, w.ok("storage verify --account alice@example.test"), "Bodies", "6 (")
	if s := summary("storage scrub --rate 1GB"); s.FramesRead != 6 || s.Troubles != 0 {
		t.Errorf("scrubbed %+v", s)
	}
}

func TestStorageIsIndexedAnew(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	w.ok("import mbox %s --to alice@example.test --state %s", writeMbox(t, 3), filepath.Join(w.state, "s"))
	if v := jsonLines[reindexView](w, "storage reindex")[0]; v.Messages != 3 || v.Mailboxes < 2 {
		t.Errorf("indexed %+v", v)
	}
	want(t, w.ok("storage reindex --account alice@example.test"), "Indexed 3 messages in ")
	w.fails(exitFailed, "", "storage reindex --account nobody@example.test")
}

func TestStorageTroubleIsFoundAndFailsTheCommand(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	for i := range 2 {
		w.ok("import mbox %s --to alice@example.test --state %s%d", writeMbox(t, 1), filepath.Join(w.state, "s"), i)
	}
	objects := w.objects()
	if len(objects) != 2 {
		t.Fatalf("objects %q", objects)
	}
	content, err := os.ReadFile(objects[0])
	if err != nil {
		t.Fatal(err)
	}
	damaged := append([]byte(nil), content...)
	damaged[len(damaged)/3] ^= 1 // within the only frame
	if err := os.WriteFile(objects[0], damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	w.ok("storage verify") // it reads no bodies
	w.fails(exitFailed, "not in order: 1 trouble", "storage scrub --restart")
	r := w.runWith("", "storage", "scrub")
	want(t, r.out, "damaged body", filepath.Base(objects[0]))

	if err := os.Remove(objects[1]); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"storage verify", "storage verify --account alice@example.test"} {
		w.fails(exitFailed, "not in order", "%s", command)
	}
	want(t, w.runWith("", "storage", "verify").out, "missing object", filepath.Base(objects[1]), "1 bodies concerned")
	w.fails(exitFailed, "2 bodies cannot be read", "storage compact --now")
	if err := os.WriteFile(objects[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	w.fails(exitFailed, "not in order: 1 trouble", "storage scrub --json")
}

func TestSchemasAreBroughtUpToDate(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	for range 2 { // the second time there is nothing to do
		want(t, w.ok("migrate --data-dir %s", dir), "directory: the schema is up to date", "quota: ", "storage: ")
	}
	for _, service := range []string{"directory", "quota", "storage"} {
		if _, err := os.Stat(filepath.Join(dir, service, service+".db")); err != nil {
			t.Error(err)
		}
	}
	w.fails(exitUsage, "postgres://", "migrate --data-dir %s --quota-database-url mysql://x", dir)
	want(t, w.ok("migrate --help"), "--directory-database-url", "--quota-database-url", "--storage-database-url")
}
