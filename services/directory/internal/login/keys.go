package login

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/xdg-go/scram"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/services/directory/internal/password"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
)

// Keys derives what is stored for a password.
//
// A SCRAM server tells salt and iterations to whoever gives a name, before anything is proven. Here the salt is a
// MAC of the name under a secret of this directory, and the iterations are the same for all: so an unknown name gets what an account
// would get, always the same, and all passwords of an account (its own and those of apps) have one salt, so that a client may use any of them.
type Keys struct {
	secret     []byte
	iterations int
	scram      bool
}

// LoadKeys reads the directory's secret and iterations, which are set when it is first opened. With scram, passwords that are
// set from now on may be used with SCRAM.
func LoadKeys(ctx context.Context, s *store.Store, iterations int, scram bool) (Keys, error) {
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret) // never fails: it ends the program instead
	text, err := s.Setting(ctx, "scram_secret", base64.StdEncoding.EncodeToString(secret))
	if err != nil {
		return Keys{}, err
	}
	if secret, err = base64.StdEncoding.DecodeString(text); err != nil {
		return Keys{}, fmt.Errorf("read scram secret: %w", err)
	}
	text, err = s.Setting(ctx, "scram_iterations", strconv.Itoa(iterations))
	if err != nil {
		return Keys{}, err
	}
	if iterations, err = strconv.Atoi(text); err != nil {
		return Keys{}, fmt.Errorf("read scram iterations: %w", err)
	}
	return Keys{secret, iterations, scram}, nil
}

// Iterations are those that every SCRAM exchange of this directory has.
func (k Keys) Iterations() int { return k.iterations }

// factors are what a client is told before it proves anything.
func (k Keys) factors(name string) scram.KeyFactors {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte("salt\x00" + name))
	return scram.KeyFactors{Salt: string(mac.Sum(nil)[:16]), Iters: k.iterations}
}

// Scram gives the SCRAM keys of a password of the account with the address, empty if there are to be none.
func (k Keys) Scram(addr address.Address, typed string) string {
	if !k.scram {
		return ""
	}
	return password.Scram(typed, k.factors(addr.String()))
}

// Credentials gives the stored forms of a password of the account with the address. They take a slot of the hasher.
func (k Keys) Credentials(ctx context.Context, h *password.Hasher, addr address.Address, typed string) (store.Credentials, error) {
	slot, err := h.Acquire(ctx)
	if err != nil {
		return store.Credentials{}, fmt.Errorf("hash password: %w", err)
	}
	defer slot.Release()
	return k.credentials(slot, addr, typed), nil
}

func (k Keys) credentials(slot *password.Slot, addr address.Address, typed string) store.Credentials {
	return store.Credentials{Password: slot.Hash(typed), Scram: k.Scram(addr, typed)}
}
