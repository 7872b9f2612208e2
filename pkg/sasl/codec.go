package sasl

import (
	"encoding/base64"
	"strings"
)

// MaxLine is the longest line in octets that carries a SASL message, without its CRLF (RFC 4954 section 4.5 asks for 12,288 with it).
const MaxLine = 12288 - 2

// ErrAborted is returned for the line by which a client cancels an exchange. Its reason is SASL_MALFORMED.
var ErrAborted = malformed("authentication was cancelled")

// Encode gives a challenge in base64. An empty challenge gives an empty line.
func Encode(challenge []byte) string {
	return base64.StdEncoding.EncodeToString(challenge)
}

// Decode decodes a line, without its CRLF, by which a client responds to a challenge. The line "*" gives ErrAborted; an
// empty line an empty response that is not nil, and so does "=", which go-imap's client writes at the end of SCRAM as if it
// were an initial response. Other errors have the reason SASL_MALFORMED.
func Decode(line string) ([]byte, error) {
	switch {
	case line == "*":
		return nil, ErrAborted
	case line == "=":
		return []byte{}, nil
	case len(line) > MaxLine:
		return nil, malformed("authentication message is too long")
	}
	response, err := base64.StdEncoding.Strict().DecodeString(line)
	if err != nil || strings.ContainsAny(line, "\r\n") { // which the decoder ignores
		return nil, malformed("authentication message is not valid base64")
	}
	return response, nil
}

// DecodeInitial decodes the initial response in the command itself: "=" is an empty one that is not nil (RFC 4954
// section 4, RFC 5034 section 4, RFC 9051 section 6.2.2). Call it only if the argument is there: without it the initial response is nil.
func DecodeInitial(argument string) ([]byte, error) {
	if argument == "" {
		return nil, malformed("initial authentication response is missing")
	}
	return Decode(argument)
}
