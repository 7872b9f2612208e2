package rebuild

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/yubin-mail/yubin/pkg/address"
)

// addressOf gives the address that most messages were delivered to, by what went before their bodies; "" if none tells.
func addressOf(prefixes [][]byte) string {
	counts := map[string]int{}
	for _, prefix := range prefixes {
		for line := range bytes.Lines(prefix) {
			name, value, ok := bytes.Cut(line, []byte(":"))
			if !ok || !strings.EqualFold(string(name), "Delivered-To") {
				continue
			}
			if a, err := address.Parse(string(bytes.TrimSpace(value))); err == nil {
				counts[a.String()]++
			}
		}
	}
	best := ""
	for _, a := range slices.Sorted(maps.Keys(counts)) {
		if counts[a] > counts[best] {
			best = a
		}
	}
	return best
}
