// Package password makes and checks the stored forms of passwords: argon2id (RFC 9106) as PHC strings for
// the passwords that people choose, SCRAM-SHA-256 keys (RFC 7677) in the form of RFC 5803, and digests of app passwords.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/xdg-go/stringprep"
	"golang.org/x/crypto/argon2"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// Params are the costs of argon2id.
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// DefaultParams are what OWASP's Password Storage Cheat Sheet asks for.
var DefaultParams = Params{Memory: 19 * 1024, Time: 2, Threads: 1}

const (
	saltSize = 16
	keySize  = 32
	// maxMemory in KiB bounds what a stored hash may ask for.
	maxMemory = 1 << 20
)

// ErrBusy is returned when no slot came free in time.
var ErrBusy = errors.New("too many passwords are being checked")

// Hasher computes argon2id, few at a time, as each takes Params.Memory.
type Hasher struct {
	params Params
	slots  chan struct{}
	wait   time.Duration

	seconds, waited prometheus.Histogram
}

// NewHasher makes a hasher that computes at most parallel hashes at a time, and lets others wait as long as wait.
func NewHasher(params Params, parallel int, wait time.Duration, reg prometheus.Registerer) *Hasher {
	histogram := func(name, help string) prometheus.Histogram {
		return telemetry.Register(reg, telemetry.NewHistogram(prometheus.HistogramOpts{
			Namespace: "yubin", Subsystem: "directory", Name: name, Help: help,
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}))
	}
	return &Hasher{
		params:  params,
		slots:   make(chan struct{}, parallel),
		wait:    wait,
		seconds: histogram("argon2_seconds", "Duration of argon2id computations."),
		waited:  histogram("argon2_wait_seconds", "Wait for an argon2id computation to begin, also of those that gave up."),
	}
}

// Slot is the right to compute. It is for one goroutine.
type Slot struct{ h *Hasher }

// Acquire waits for a slot, which Release must give back. It fails with ErrBusy after the longest wait.
func (h *Hasher) Acquire(ctx context.Context) (*Slot, error) {
	begun := time.Now()
	defer func() { h.waited.Observe(time.Since(begun).Seconds()) }()
	timeout := time.NewTimer(h.wait)
	defer timeout.Stop()
	select {
	case h.slots <- struct{}{}:
		return &Slot{h}, nil
	case <-timeout.C:
		return nil, ErrBusy
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Release gives the slot back.
func (s *Slot) Release() { <-s.h.slots }

// Hash gives the PHC string of a password.
func (s *Slot) Hash(password string) string {
	p := s.h.params
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails: it ends the program instead
	key := s.compute(password, salt, p, keySize)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.Memory, p.Time, p.Threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// Verify tells whether a password is that of a PHC string, and whether the string should be made anew with the current
// costs. Without a string it takes as long, and the answer is no.
func (s *Slot) Verify(phc, password string) (ok, outdated bool, err error) {
	if phc == "" {
		s.compute(password, make([]byte, saltSize), s.h.params, keySize)
		return false, false, nil
	}
	p, salt, key, err := parsePHC(phc)
	if err != nil {
		return false, false, err
	}
	ok = subtle.ConstantTimeCompare(s.compute(password, salt, p, len(key)), key) == 1
	return ok, p != s.h.params, nil
}

func (s *Slot) compute(password string, salt []byte, p Params, size int) []byte {
	begun := time.Now()
	defer func() { s.h.seconds.Observe(time.Since(begun).Seconds()) }()
	return argon2.IDKey([]byte(prepare(password)), salt, p.Time, p.Memory, p.Threads, uint32(size))
}

// errPHC is a stored hash that cannot be read.
var errPHC = errors.New("stored password is not a PHC string of argon2id")

func parsePHC(phc string) (p Params, salt, key []byte, err error) {
	fields := strings.Split(phc, "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, nil, nil, errPHC
	}
	if n, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &p.Memory, &p.Time, &p.Threads); n != 3 || err != nil {
		return p, nil, nil, errPHC
	}
	salt, saltErr := base64.RawStdEncoding.DecodeString(fields[4])
	key, keyErr := base64.RawStdEncoding.DecodeString(fields[5])
	if saltErr != nil || keyErr != nil || len(key) == 0 || p.Memory > maxMemory || p.Time == 0 || p.Threads == 0 {
		return p, nil, nil, errPHC
	}
	return p, salt, key, nil
}

// prepare makes the spellings of one password equal (RFC 4616 section 2 asks for SASLprep, RFC 4013). What SASLprep
// refuses is taken as it is.
func prepare(password string) string {
	if prepared, err := stringprep.SASLprep.Prepare(password); err == nil {
		return prepared
	}
	return password
}
