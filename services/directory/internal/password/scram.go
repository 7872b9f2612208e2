package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"
)

// MinScramIterations is the least that RFC 7677 section 4 allows.
const MinScramIterations = 4096

const scramScheme = "SCRAM-SHA-256"

// Scram derives the keys of a password in the form of RFC 5803. A password that SASLprep refuses has none: the
// result is empty, as clients could not use it either.
func Scram(password string, factors scram.KeyFactors) string {
	client, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		return ""
	}
	keys, err := client.GetStoredCredentialsWithError(factors)
	if err != nil {
		return ""
	}
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", scramScheme, factors.Iters, b64([]byte(factors.Salt)), b64(keys.StoredKey), b64(keys.ServerKey))
}

// errScram are stored keys that cannot be read.
var errScram = errors.New("stored SCRAM keys are not in the form of RFC 5803")

// ParseScram reads what Scram made.
func ParseScram(stored string) (scram.StoredCredentials, error) {
	var c scram.StoredCredentials
	scheme, rest, _ := strings.Cut(stored, "$")
	factors, keys, _ := strings.Cut(rest, "$")
	iterations, salt, _ := strings.Cut(factors, ":")
	storedKey, serverKey, found := strings.Cut(keys, ":")
	if scheme != scramScheme || !found {
		return c, errScram
	}
	if _, err := fmt.Sscanf(iterations, "%d", &c.Iters); err != nil {
		return c, errScram
	}
	b64 := base64.StdEncoding.DecodeString
	rawSalt, saltErr := b64(salt)
	c.Salt = string(rawSalt)
	var storedErr, serverErr error
	c.StoredKey, storedErr = b64(storedKey)
	c.ServerKey, serverErr = b64(serverKey)
	if errors.Join(saltErr, storedErr, serverErr) != nil {
		return scram.StoredCredentials{}, errScram
	}
	return c, nil
}
