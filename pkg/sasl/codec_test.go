package sasl

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		line             string
		response, asInit []byte // nil: refused
	}{
		{"", []byte{}, nil},
		{"=", []byte{}, []byte{}},
		{"AGEAYg==", []byte("\x00a\x00b"), []byte("\x00a\x00b")},
		{"AGEAYg", nil, nil},
		{"AGEAYh==", nil, nil}, // bits that say nothing
		{"AGEA\nYg==", nil, nil},
		{" AGEAYg==", nil, nil},
		{"*", nil, nil},
		{"**", nil, nil},
		{strings.Repeat("A", MaxLine+2), nil, nil},
	} {
		for name, f := range map[string]struct {
			decode func(string) ([]byte, error)
			want   []byte
		}{"Decode": {Decode, tt.response}, "DecodeInitial": {DecodeInitial, tt.asInit}} {
			got, err := f.decode(tt.line)
			if (err != nil) != (f.want == nil) || !bytes.Equal(got, f.want) || (err == nil && got == nil) {
				t.Errorf("%s(%.20q) = %v, %v, want %v", name, tt.line, got, err, f.want)
			}
			if err != nil && fault.Reason(err) != rpcv1.Reason_REASON_SASL_MALFORMED {
				t.Errorf("%s(%.20q): reason %v", name, tt.line, fault.Reason(err))
			}
			if errors.Is(err, ErrAborted) != (tt.line == "*") {
				t.Errorf("%s(%.20q): %v", name, tt.line, err)
			}
		}
	}
}

// FuzzDecode checks that what is decoded is bounded, and encodes to the same line, apart from "=".
func FuzzDecode(f *testing.F) {
	for _, line := range []string{"", "=", "*", "AGEAYg==", "AA", "\r"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		response, err := Decode(line)
		switch {
		case err != nil && fault.Reason(err) != rpcv1.Reason_REASON_SASL_MALFORMED:
			t.Fatalf("error without reason: %v", err)
		case err == nil && (len(response) > MaxMessage || Encode(response) != line && line != "="):
			t.Fatalf("%q decodes to %q", line, response)
		}
	})
}
