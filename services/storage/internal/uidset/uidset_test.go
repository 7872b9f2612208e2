package uidset

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

const top = 1<<32 - 1

func TestFromProtoSortsAndJoins(t *testing.T) {
	for _, c := range []struct {
		in   [][2]uint32
		want string
	}{
		{nil, "[]"},
		{[][2]uint32{{5, 7}, {1, 2}}, "[{1 2} {5 7}]"},
		{[][2]uint32{{1, 3}, {4, 4}, {2, 9}}, "[{1 9}]"},
		{[][2]uint32{{7, top}, {1, 1}, {top, top}}, fmt.Sprintf("[{1 1} {7 %d}]", uint32(top))},
		{[][2]uint32{{1, top}, {3, 4}}, fmt.Sprintf("[{1 %d}]", uint32(top))},
	} {
		var ranges []*storagev1.UidRange
		for _, r := range c.in {
			ranges = append(ranges, &storagev1.UidRange{Start: r[0], Stop: r[1]})
		}
		set, err := FromProto(ranges)
		if err != nil || fmt.Sprint(set) != c.want {
			t.Errorf("FromProto(%v) = %v, %v; want %s", c.in, set, err, c.want)
		}
	}
}

func TestFromProtoRefusesWhatIsNoRange(t *testing.T) {
	for _, r := range []*storagev1.UidRange{{Start: 0, Stop: 4}, {Start: 5, Stop: 4}, nil} {
		if _, err := FromProto([]*storagev1.UidRange{r}); !fault.Is(err, rpcv1.Reason_REASON_INVALID) {
			t.Errorf("FromProto(%v) gave %v", r, err)
		}
	}
	if _, err := FromProto(make([]*storagev1.UidRange, MaxRanges+1)); !fault.Is(err, rpcv1.Reason_REASON_INVALID) {
		t.Errorf("too many ranges gave %v", err)
	}
}

// TestSetsAgreeWithMaps compares the operations with those on sets of single numbers.
func TestSetsAgreeWithMaps(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() (Set, map[uint32]bool) {
		m := map[uint32]bool{}
		var list []uint32
		for range rng.IntN(30) {
			uid := 1 + rng.Uint32N(40)
			m[uid] = true
			list = append(list, uid)
		}
		return Of(list...), m
	}
	for range 2000 {
		a, inA := random()
		b, inB := random()
		union, both := a.Union(b), a.Intersect(b)
		for uid := uint32(1); uid <= 42; uid++ {
			if a.Contains(uid) != inA[uid] || union.Contains(uid) != (inA[uid] || inB[uid]) || both.Contains(uid) != (inA[uid] && inB[uid]) {
				t.Fatalf("UID %d: %v and %v have union %v and intersection %v", uid, a, b, union, both)
			}
		}
		if n := len(slices.Collect(a.All())); n != len(inA) || a.Len() != uint64(n) {
			t.Fatalf("%v has %d UIDs, want %d", a, n, len(inA))
		}
		for i, r := range union {
			if i > 0 && r.Start <= union[i-1].Stop+1 {
				t.Fatalf("%v is not normal", union)
			}
		}
	}
}

func TestAllEndsAtTheHighestUID(t *testing.T) {
	set := Set{{top - 1, top}}
	if got := slices.Collect(set.All()); !slices.Equal(got, []uint32{top - 1, top}) {
		t.Errorf("got %v", got)
	}
	if All.Len() != top {
		t.Errorf("all are %d", All.Len())
	}
}

func TestNear(t *testing.T) {
	set := Of(1, 3, 4, 7, 11, 1<<32-1)
	for gap, want := range map[uint32]string{0: "[{1 1} {3 4} {7 7} {11 11} {4294967295 4294967295}]", 1: "[{1 4} {7 7} {11 11} {4294967295 4294967295}]",
		3: "[{1 11} {4294967295 4294967295}]", 1<<32 - 1: "[{1 4294967295}]"} {
		if got := fmt.Sprint(set.Near(gap)); got != want {
			t.Errorf("near %d: got %s, want %s", gap, got, want)
		}
	}
}
