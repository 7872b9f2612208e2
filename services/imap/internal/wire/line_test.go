package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestEncodersShareALine: what goroutines write at the same time comes out by whole responses.
func TestEncodersShareALine(t *testing.T) {
	var out bytes.Buffer
	first := NewEncoder(&out)
	const encoders, responses = 4, 8
	size := 3 * writeBuffer / 2 // some of a response must go out before its end
	var group sync.WaitGroup
	for i := range encoders {
		enc := first.Beside()
		group.Go(func() {
			body := strings.Repeat(fmt.Sprint(i), size)
			for range responses {
				enc.Star().Num(uint64(i)).Raw(" FETCH (")
				if err := enc.Literal(int64(size), strings.NewReader(body)); err != nil {
					t.Error(err)
				}
				enc.Close().CRLF()
				enc.Star().Raw("OK ").Num(uint64(i)).CRLF()
			}
			if err := enc.Flush(); err != nil {
				t.Error(err)
			}
			enc.End()
		})
	}
	group.Wait()
	rest, found := out.String(), 0
	for rest != "" {
		i := rest[2:3]
		next, whole := strings.CutPrefix(rest, fmt.Sprintf("* %s FETCH ({%d}\r\n", i, size))
		if whole {
			next, whole = strings.CutPrefix(next, strings.Repeat(i, size)+")\r\n")
		} else {
			_, next, whole = strings.Cut(rest, "\r\n")
			whole = whole && strings.HasPrefix(rest, "* OK ")
		}
		if !whole {
			t.Fatalf("torn: %.80q", rest)
		}
		rest, found = next, found+1
	}
	if found != 2*encoders*responses {
		t.Errorf("%d responses came", found)
	}
}

// TestTornResponseEndsTheLine: nobody writes behind half a response; one of which nothing was sent is forgotten.
func TestTornResponseEndsTheLine(t *testing.T) {
	var out bytes.Buffer
	first := NewEncoder(&out)
	forgotten, torn := first.Beside(), first.Beside()
	forgotten.Star().Raw("1 FETCH (")
	forgotten.End()
	first.Star().Raw("OK").CRLF()
	if err := first.Flush(); err != nil || out.String() != "* OK\r\n" {
		t.Fatalf("%v, %q", err, out.String())
	}
	torn.Star().Raw(strings.Repeat("x", writeBuffer))
	torn.End()
	sent := out.Len()
	first.Star().Raw("OK").CRLF()
	if err := first.Flush(); !errors.Is(err, ErrTorn) {
		t.Errorf("Flush: %v", err)
	}
	if out.Len() != sent {
		t.Errorf("behind half a response came %q", out.String()[sent:])
	}
	out.Reset()
	first.Reset(&out)
	first.Star().Raw("OK").CRLF()
	if err := first.Flush(); err != nil || out.String() != "* OK\r\n" {
		t.Errorf("after Reset: %v, %q", err, out.String())
	}
}
