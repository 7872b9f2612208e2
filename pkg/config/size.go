package config

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Size is a number of bytes. It implements pflag.Value.
type Size int64

// Decimal (SI) and binary (IEC 80000-13) units of Size.
const (
	B   Size = 1
	KB  Size = 1e3
	MB  Size = 1e6
	GB  Size = 1e9
	TB  Size = 1e12
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

// units are ordered so that the first exact one gives the shortest text; of two
// equally short texts the decimal one is written.
var units = []struct {
	name string
	size Size
}{
	{"TB", TB}, {"TiB", TiB}, {"GB", GB}, {"GiB", GiB}, {"MB", MB}, {"MiB", MiB}, {"KB", KB}, {"KiB", KiB},
}

// ErrSize is what ParseSize wraps when a text is not a size.
var ErrSize = errors.New("not a size")

// maxSizeText bounds the text of a size: enough for every int64 with a fraction and a unit.
const maxSizeText = 40

// ParseSize reads bytes with an optional unit: 5GB is 5×10⁹, 5GiB is 5×2³⁰, 1.5MB is 1500000,
// and a bare number is bytes. Units may be in either case and may lack their B, as in Kubernetes
// quantities (5Gi). A negative size, or one that is no whole number of bytes, is an error.
func ParseSize(s string) (Size, error) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > maxSizeText {
		return 0, fmt.Errorf("%w: write for example 5GB, 512MiB or 1048576", ErrSize)
	}
	digits := len(s)
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && c != '.' {
			digits = i
			break
		}
	}
	number, unit := s[:digits], strings.TrimSpace(s[digits:])
	factor, ok := unitSize(unit)
	if !ok || strings.HasPrefix(number, ".") || strings.HasSuffix(number, ".") {
		return 0, fmt.Errorf("%w: %q; write for example 5GB, 512MiB or 1048576", ErrSize, s)
	}
	value, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, fmt.Errorf("%w: %q; write for example 5GB, 512MiB or 1048576", ErrSize, s)
	}
	value.Mul(value, new(big.Rat).SetInt64(int64(factor)))
	if !value.IsInt() {
		return 0, fmt.Errorf("%w: %q is no whole number of bytes", ErrSize, s)
	}
	if !value.Num().IsInt64() {
		return 0, fmt.Errorf("%w: %q exceeds %d bytes", ErrSize, s, int64(math.MaxInt64))
	}
	return Size(value.Num().Int64()), nil
}

func unitSize(unit string) (Size, bool) {
	if unit == "" || strings.EqualFold(unit, "B") {
		return B, true
	}
	for _, u := range units {
		if strings.EqualFold(unit, u.name) || strings.EqualFold(unit, strings.TrimSuffix(u.name, "B")) {
			return u.size, true
		}
	}
	return 0, false
}

// String gives the shortest text that ParseSize reads as exactly this size.
func (s Size) String() string {
	plain := strconv.FormatInt(int64(s), 10)
	best := ""
	for _, u := range units {
		if s == 0 || s%u.size != 0 {
			continue
		}
		if text := strconv.FormatInt(int64(s/u.size), 10) + u.name; best == "" || len(text) < len(best) {
			best = text
		}
	}
	if best == "" || len(plain) < len(best) {
		return plain
	}
	return best
}

// Set implements pflag.Value.
func (s *Size) Set(text string) error {
	v, err := ParseSize(text)
	if err != nil {
		return err
	}
	*s = v
	return nil
}

// Type implements pflag.Value.
func (*Size) Type() string { return "size" }

// SizeVar declares a flag of type Size.
func SizeVar(fs *pflag.FlagSet, p *Size, name string, value Size, usage string) {
	*p = value
	fs.Var(p, name, usage)
}
