// Package endpoint is how the CLI finds a running system: the all-in-one leaves a file in its data directory.
package endpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/yubin-mail/yubin/pkg/tlsconf"
)

// Server is the name of the all-in-one in its certificate.
const Server = "yubin"

// Endpoint is where the all-in-one takes administrative calls, and with which certificate.
type Endpoint struct {
	// Address of the gRPC listener, host:port.
	Address string `json:"address"`
	// Files of the admin identity.
	Files tlsconf.Files `json:"files"`
}

func path(dataDir string) string { return filepath.Join(dataDir, "run", "admin.json") }

// Publish writes the endpoint of the system that runs on dataDir. The file is for its owner only.
func Publish(dataDir string, e Endpoint) error {
	file := path(dataDir)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("publish endpoint: %w", err)
	}
	for _, name := range []*string{&e.Files.CA, &e.Files.Cert, &e.Files.Key} { // they are read from other folders
		absolute, err := filepath.Abs(*name)
		if err != nil {
			return fmt.Errorf("publish endpoint: %w", err)
		}
		*name = absolute
	}
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return fmt.Errorf("publish endpoint: %w", err)
	}
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("publish endpoint: %w", err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("publish endpoint: %w", err)
	}
	return nil
}

// Withdraw removes the file again.
func Withdraw(dataDir string) { _ = os.Remove(path(dataDir)) }

// ErrNotRunning is returned where no system has left its file.
var ErrNotRunning = errors.New("no running system found")

// Find reads the endpoint of the system that runs on dataDir. With dataDir empty it looks in ./data and in the folder
// data beside the folder of the program, which is where `make run` keeps it.
func Find(dataDir string) (Endpoint, error) {
	candidates := []string{dataDir}
	if dataDir == "" {
		candidates = []string{"data"}
		if program, err := os.Executable(); err == nil {
			candidates = append(candidates, filepath.Join(filepath.Dir(filepath.Dir(program)), "data"))
		}
	}
	for _, dir := range candidates {
		text, err := os.ReadFile(path(dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Endpoint{}, fmt.Errorf("find running system: %w", err)
		}
		var e Endpoint
		if err := json.Unmarshal(text, &e); err != nil {
			return Endpoint{}, fmt.Errorf("find running system: %s: %w", path(dir), err)
		}
		return e, nil
	}
	return Endpoint{}, ErrNotRunning
}
