package pack

import (
	"bytes"
	"errors"
	"testing"
)

// octets gives what a frame has in a pack.
func octets(pack []byte, f Frame) []byte { return pack[f.Offset : f.Offset+f.Stored] }

func TestCopyKeepsFramesAsTheyAre(t *testing.T) {
	all := bodies()
	from := build(t, all)
	var b bytes.Buffer
	w := NewWriter(&b)
	frames := open(t, from).Frames()
	copies := make([]Frame, len(frames))
	for i := len(frames) - 1; i >= 0; i-- { // in another order
		s, err := ReadStored(frames[i], octets(from, frames[i]))
		if err != nil {
			t.Fatal(err)
		}
		if !sameFrame(s.Frame(), frames[i]) {
			t.Errorf("frame %d is read as %+v", i, s.Frame())
		}
		if copies[i], err = w.Copy(s); err != nil {
			t.Fatal(err)
		}
		if c, f := copies[i], frames[i]; c.Stored != f.Stored || c.Size != f.Size || c.Sum != f.Sum || !bytes.Equal(c.Meta, f.Meta) {
			t.Errorf("frame %d became %+v", i, c)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := open(t, b.Bytes())
	for i, body := range all {
		var got bytes.Buffer
		if _, err := r.WriteFrame(&got, copies[i]); err != nil || !bytes.Equal(got.Bytes(), body) {
			t.Errorf("body %d: %v", i, err)
		}
		if err := Verify(bytes.NewReader(b.Bytes()), copies[i]); err != nil {
			t.Errorf("verify %d: %v", i, err)
		}
		if bytes.Contains(b.Bytes(), from[8:16]) {
			t.Fatal("the old pack's marker is in the new one")
		}
	}
	if found, errs := scan(b.Bytes()); len(found) != len(all) || errs != nil {
		t.Errorf("a scan finds %d frames, %v", len(found), errs)
	}
}

// A changed octet is noticed, also in what reading the body does not need; unless it is one that the decompressor does not look at.
func TestCopyNoticesFlippedBits(t *testing.T) {
	bodies := [][]byte{nil, text(300), noise(70), text(ChunkSize + 100)}
	pack := build(t, bodies)
	for i, f := range open(t, pack).Frames() {
		step := max(1, len(octets(pack, f))/500)
		missed := 0
		for at := 0; at < len(octets(pack, f)); at += step {
			broken := bytes.Clone(pack)
			broken[f.Offset+int64(at)] ^= 1 << (at % 8)
			s, err := ReadStored(f, octets(broken, f))
			if verified := Verify(bytes.NewReader(broken), f); !errors.Is(verified, ErrCorrupt) != (err == nil) {
				t.Errorf("frame %d with octet %d broken: %v when read, %v when verified", i, at, err, verified)
			}
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Errorf("frame %d with octet %d broken: %v", i, at, err)
				}
				continue
			}
			missed++
			var got bytes.Buffer
			if _, err := WriteFrame(&got, bytes.NewReader(broken), f); err != nil || !bytes.Equal(got.Bytes(), bodies[i]) || !bytes.Equal(s.Frame().Meta, f.Meta) {
				t.Errorf("frame %d with octet %d broken is another body: %v", i, at, err)
			}
		}
		if missed > 10 {
			t.Errorf("frame %d: %d broken octets were not noticed", i, missed)
		}
		for n := range octets(pack, f) {
			if n%step != 0 {
				continue
			}
			if _, err := ReadStored(f, octets(pack, f)[:n]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("frame %d cut to %d octets is read: %v", i, n, err)
			}
		}
	}
}

func TestCopyRefuses(t *testing.T) {
	pack := build(t, [][]byte{text(300), text(400)})
	frames := open(t, pack).Frames()
	if _, err := ReadStored(frames[1], octets(pack, frames[0])); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the octets of another frame are taken: %v", err)
	}
	s, err := ReadStored(frames[0], octets(pack, frames[0]))
	if err != nil {
		t.Fatal(err)
	}
	s.chunks[len(s.chunks)-1] ^= 1
	if _, err := NewWriter(&bytes.Buffer{}).Copy(s); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a table that changed in memory is written: %v", err)
	}
	s.chunks[len(s.chunks)-1] ^= 1
	w := NewWriter(&bytes.Buffer{})
	w.index = maxIndex
	if _, err := w.Copy(s); !errors.Is(err, ErrIndexFull) {
		t.Errorf("a full index takes another frame: %v", err)
	}
}

func FuzzReadStored(f *testing.F) {
	pack := build(f, [][]byte{nil, text(300), noise(70)})
	for _, frame := range open(f, pack).Frames() {
		f.Add(octets(pack, frame), frame.Size, frame.Sum)
	}
	f.Fuzz(func(t *testing.T, data []byte, size int64, sum uint64) {
		frame := Frame{Offset: headSize, Stored: int64(len(data)), Size: size, Sum: sum}
		s, err := ReadStored(frame, data)
		verified := Verify(bytes.NewReader(append(make([]byte, headSize), data...)), frame)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if verified != nil {
			t.Fatalf("what can be copied is not verified: %v", verified)
		}
		var b bytes.Buffer
		w := NewWriter(&b)
		c, err := w.Copy(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadStored(c, octets(b.Bytes(), c)); err != nil {
			t.Fatalf("a copy cannot be copied: %v", err)
		}
	})
}
