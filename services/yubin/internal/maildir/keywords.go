package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// keywordsFile maps the letters a to z to keywords, as Dovecot does: lines of a number and a name.
const keywordsFile = "dovecot-keywords"

// maxKeywords is how many letters there are.
const maxKeywords = 26

func loadKeywords(dir string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, keywordsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for line := range strings.Lines(string(text)) {
		number, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 0 || n >= maxKeywords {
			continue
		}
		for len(out) <= n {
			out = append(out, "")
		}
		out[n] = name
	}
	return out, nil
}

func saveKeywords(dir string, keywords []string) error {
	var b strings.Builder
	for i, k := range keywords {
		if k != "" {
			fmt.Fprintf(&b, "%d %s\n", i, k)
		}
	}
	return os.WriteFile(filepath.Join(dir, keywordsFile), []byte(b.String()), 0o600)
}
