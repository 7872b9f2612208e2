package password

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/xdg-go/scram"
)

var cheap = Params{Memory: 64, Time: 1, Threads: 1}

func acquire(t *testing.T, h *Hasher) *Slot {
	t.Helper()
	slot, err := h.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(slot.Release)
	return slot
}

func computed(t *testing.T, h *Hasher) uint64 {
	t.Helper()
	var m dto.Metric
	if err := h.seconds.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetHistogram().GetSampleCount()
}

func TestHashAndVerify(t *testing.T) {
	slot := acquire(t, NewHasher(cheap, 1, time.Second, prometheus.NewRegistry()))
	phc := slot.Hash("correct horse")
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Fatalf("hash is %q", phc)
	}
	if phc == slot.Hash("correct horse") {
		t.Error("two hashes have one salt")
	}
	for _, tt := range []struct {
		password string
		ok       bool
	}{{"correct horse", true}, {"correct\u00a0horse", true}, {"correct horse ", false}, {"", false}, {"Correct horse", false}} {
		ok, outdated, err := slot.Verify(phc, tt.password)
		if ok != tt.ok || outdated || err != nil {
			t.Errorf("Verify(%q) = %v, %v, %v", tt.password, ok, outdated, err)
		}
	}
}

// A hash of the reference implementation: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32 -v 13.
func TestVerifyForeignHash(t *testing.T) {
	slot := acquire(t, NewHasher(cheap, 1, time.Second, nil))
	const phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	ok, outdated, err := slot.Verify(phc, "password")
	if !ok || !outdated || err != nil {
		t.Errorf("Verify = %v, %v, %v", ok, outdated, err)
	}
}

func TestVerifyRefusesBrokenHash(t *testing.T) {
	slot := acquire(t, NewHasher(cheap, 1, time.Second, nil))
	good := slot.Hash("password")
	for _, phc := range []string{
		"x", "$argon2i" + good[len("$argon2id"):], strings.Replace(good, "v=19", "v=16", 1), strings.Replace(good, "m=64", "m=9999999", 1),
		strings.Replace(good, "t=1", "t=0", 1), strings.Replace(good, "p=1", "p=0", 1), good + "$", good + "!", good[:strings.LastIndexByte(good, '$')+1],
	} {
		if _, _, err := slot.Verify(phc, "password"); !errors.Is(err, errPHC) {
			t.Errorf("Verify of %q: %v, want errPHC", phc, err)
		}
	}
}

func TestNoHashCostsAsMuch(t *testing.T) {
	h := NewHasher(cheap, 1, time.Second, nil)
	slot := acquire(t, h)
	before := computed(t, h)
	if ok, _, err := slot.Verify("", ""); ok || err != nil {
		t.Fatalf("Verify without hash = %v, %v", ok, err)
	}
	if n := computed(t, h) - before; n != 1 {
		t.Errorf("%d computations, want 1", n)
	}
}

func TestAcquireIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(cheap, 1, time.Minute, nil)
		held, err := h.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Acquire(t.Context()); !errors.Is(err, ErrBusy) {
			t.Fatalf("got %v, want ErrBusy", err)
		}
		got := make(chan error)
		go func() {
			slot, err := h.Acquire(t.Context())
			if err == nil {
				slot.Release()
			}
			got <- err
		}()
		synctest.Wait()
		held.Release()
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	})
}

// The example of RFC 7677 section 3.
func TestScram(t *testing.T) {
	salt := "[m\x99h\x9d\x125\x8e\xec\xa0K\x14\x126\xfa\x81"
	text := Scram("pencil", scram.KeyFactors{Salt: salt, Iters: 4096})
	const want = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if text != want {
		t.Fatalf("keys are %q", text)
	}
	keys, err := ParseScram(text)
	if err != nil || keys.Salt != salt || keys.Iters != 4096 || len(keys.StoredKey) != 32 || len(keys.ServerKey) != 32 {
		t.Errorf("parsed %+v, %v", keys, err)
	}
	if text := Scram("bad\u0007password", scram.KeyFactors{Salt: salt, Iters: 4096}); text != "" {
		t.Errorf("keys of a password that SASLprep refuses: %q", text)
	}
	for _, bad := range []string{"", "x", "SCRAM-SHA-1" + want[len("SCRAM-SHA-256"):], want[:30], strings.Replace(want, "4096", "many", 1), want + "*"} {
		if _, err := ParseScram(bad); !errors.Is(err, errScram) {
			t.Errorf("ParseScram(%q): %v, want errScram", bad, err)
		}
	}
}

func TestAppPassword(t *testing.T) {
	id, typed := NewApp()
	if len(typed) != 29 || !strings.HasPrefix(typed, id+"-") {
		t.Fatalf("id %q, password %q", id, typed)
	}
	digest := AppDigest("account", typed)
	for _, as := range []string{typed, strings.ReplaceAll(typed, "-", ""), strings.ReplaceAll(strings.ToUpper(typed), "-", " ")} {
		gotID, canonical, ok := ParseApp(as)
		if !ok || gotID != id || !VerifyApp(digest, "account", canonical) {
			t.Errorf("%q gives %q, %q, %v", as, gotID, canonical, ok)
		}
		if VerifyApp(digest, "other", canonical) {
			t.Error("right for another account")
		}
	}
	for _, no := range []string{"", "password", typed + "a", typed[:28], "0" + typed[1:], strings.Repeat("-", 40)} {
		if _, _, ok := ParseApp(no); ok {
			t.Errorf("%q is taken for an app password", no)
		}
	}
	if _, other := NewApp(); other == typed {
		t.Error("two app passwords are equal")
	}
}
