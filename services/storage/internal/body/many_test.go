package body

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/yubin-mail/yubin/services/storage/internal/pack"
)

func TestManyNeighboursTakeOneRead(t *testing.T) {
	f := newStore(t, Config{})
	bodies := [][]byte{text(3000), {}, noise(5000), noise(MaxMany + 1), text(200), noise(MaxMany)}
	locations := f.put(t, bodies...)
	other := f.put(t, text(999))[0] // of another pack
	got := f.ReadMany(t.Context(), append(locations, other))
	for i, want := range append(bodies, text(999)) {
		switch {
		case len(want) == 0 || len(want) > MaxMany:
			if got[i] != nil {
				t.Errorf("body %d of %d octets: %d", i, len(want), len(got[i]))
			}
		case !bytes.Equal(got[i], want):
			t.Errorf("body %d: %d octets, want %d", i, len(got[i]), len(want))
		}
	}
	// The first three, what is beyond the large one, and the other pack.
	if n := f.objects.gets.Load(); n != 3 {
		t.Errorf("%d reads of the object store, want 3", n)
	}
	f.ReadMany(t.Context(), append(locations, other))
	if n := f.objects.gets.Load(); n != 3 {
		t.Errorf("%d reads of the object store, want none for what was read lately", n)
	}
}

func TestManyPassesOverWhatCannotBeRead(t *testing.T) {
	f := newStore(t, Config{CacheBytes: -1})
	bodies := [][]byte{text(3000), noise(5000), text(300)}
	locations := f.put(t, bodies...)
	file := f.file(t, locations[0].Object)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[locations[1].Offset+locations[1].Stored-17] ^= 4 // the last octet of content
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	gone := Location{Object: NewKey(f.cfg.Now()), Offset: 16, Stored: 100, Size: 50}
	wrong := []Location{
		{Object: gone.Object, Offset: -5, Stored: -1, Size: 1 << 60}, {Object: locations[0].Object, Offset: 1 << 62, Stored: 1 << 62, Size: 5},
		{Object: locations[2].Object, Offset: locations[2].Offset, Stored: 3, Size: 5},
	}
	got := f.ReadMany(t.Context(), append(append(locations, gone), wrong...))
	for i, content := range got {
		want := []byte(nil)
		if i == 0 || i == 2 {
			want = bodies[i]
		}
		if !bytes.Equal(content, want) {
			t.Errorf("body %d: %d octets, want %d", i, len(content), len(want))
		}
	}
	if _, err := f.open(t, locations[1]).WriteRange(t.Context(), &bytes.Buffer{}, 0, -1); !errors.Is(err, pack.ErrCorrupt) && !errors.Is(err, ErrCorrupt) {
		t.Errorf("the damaged body alone: %v", err)
	}
}
