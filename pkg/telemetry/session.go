package telemetry

import (
	"crypto/rand"
	"strings"
)

// SessionID makes the id of a client's session: it is told to the client where that helps, and stands in the logs and traces.
func SessionID() string { return strings.ToLower(rand.Text()[:12]) }
