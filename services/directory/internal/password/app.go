package password

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// App passwords are six groups of four characters: the first is the id, by which the stored digest is found with one
// read, the rest 100 random bits. So much randomness cannot be guessed from a digest however fast that is computed:
// SHA-256 is enough, where argon2id would cost an account with ten of them ten computations at every login.

// alphabet has 32 characters that are not mistaken for each other: no l, o, 0, 1.
const alphabet = "abcdefghijkmnpqrstuvwxyz23456789"

const (
	appGroup  = 4
	appGroups = 6
)

// NewApp makes a random app password.
func NewApp() (id, password string) {
	random := make([]byte, appGroup*appGroups)
	_, _ = rand.Read(random) // never fails: it ends the program instead
	for i, b := range random {
		random[i] = alphabet[int(b)%len(alphabet)] // 256 is a multiple of 32: no bias
	}
	return string(random[:appGroup]), group(string(random))
}

func group(s string) string {
	groups := make([]string, 0, appGroups)
	for i := 0; i < len(s); i += appGroup {
		groups = append(groups, s[i:i+appGroup])
	}
	return strings.Join(groups, "-")
}

// ParseApp recognises an app password as people type it, with or without the hyphens, and gives its id and its canonical form.
func ParseApp(typed string) (id, password string, ok bool) {
	bare := strings.NewReplacer("-", "", " ", "").Replace(strings.ToLower(typed))
	if len(bare) != appGroup*appGroups || strings.Trim(bare, alphabet) != "" {
		return "", "", false
	}
	return bare[:appGroup], group(bare), true
}

// AppDigest is the stored form of an app password in canonical form.
func AppDigest(accountID, password string) string {
	sum := sha256.Sum256([]byte("yubin app password\x00" + accountID + "\x00" + password))
	return hex.EncodeToString(sum[:])
}

// VerifyApp tells whether an app password in canonical form is that of a digest.
func VerifyApp(digest, accountID, password string) bool {
	return subtle.ConstantTimeCompare([]byte(digest), []byte(AppDigest(accountID, password))) == 1
}
