package transfer

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// State records on disk which messages of a source are in an account: a line of JSON that says what it is about, then a line
// for each message. A line that a crash has cut is ignored: storage knows the message by its append id.
type State struct {
	file   *os.File
	header stateHeader
	done   map[string]bool
}

type stateHeader struct {
	Version int    `json:"version"`
	Source  string `json:"source"`
	Account string `json:"account"`
	// Salt makes the append ids of a run that was told to begin anew differ from those before.
	Salt string `json:"salt,omitempty"`
}

const stateVersion = 1

// StatePath is where the state of an import is kept unless told otherwise: in $XDG_STATE_HOME or ~/.local/state.
func StatePath(home, stateHome, source, account, mailbox string) string {
	if stateHome == "" {
		stateHome = filepath.Join(home, ".local", "state")
	}
	sum := sha256.Sum256([]byte(source + "\x00" + account + "\x00" + mailbox))
	return filepath.Join(stateHome, "yubin", "import-"+hex.EncodeToString(sum[:8])+".state")
}

// OpenState reads a state or begins one. salt is that of a new one.
func OpenState(path, source, account, salt string) (*State, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	s := &State{file: file, header: stateHeader{stateVersion, source, account, salt}, done: map[string]bool{}}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open state %s: %w", path, err), file.Close())
	}
	return s, nil
}

// RemoveState forgets what was imported.
func RemoveState(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove state: %w", err)
	}
	return nil
}

func (s *State) load() error {
	lines := bufio.NewReader(s.file)
	first, err := lines.ReadBytes('\n')
	if errors.Is(err, io.EOF) { // new, or cut in its first line
		if err := s.file.Truncate(0); err != nil {
			return err
		}
		return s.write(s.header)
	}
	if err != nil {
		return err
	}
	var header stateHeader
	if err := json.Unmarshal(first, &header); err != nil || header.Version != stateVersion {
		return errors.New("it is no state file of this program")
	}
	if header.Source != s.header.Source || header.Account != s.header.Account {
		return fmt.Errorf("it is about %s, not about %s", header.Source, s.header.Source)
	}
	s.header = header
	good := int64(len(first))
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return s.file.Truncate(good) // what a crash has cut
		}
		if err != nil {
			return err
		}
		good += int64(len(line))
		var key string
		if err := json.Unmarshal(line, &key); err != nil {
			return errors.New("it is damaged")
		}
		s.done[key] = true
	}
}

// write adds a line. It need not be durable at once: a message that is appended again is known by its append id.
func (s *State) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = s.file.Write(append(line, '\n'))
	return err
}

// Has tells whether a message is in the account.
func (s *State) Has(key string) bool { return s.done[key] }

// Add records that a message is in the account.
func (s *State) Add(key string) error {
	s.done[key] = true
	if err := s.write(key); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// AppendID is the idempotence key of a message in a mailbox: 64 octets.
func (s *State) AppendID(mailbox, key string) string {
	h := sha256.New()
	for _, part := range []string{s.header.Source, s.header.Account, s.header.Salt, mailbox, key} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Close makes the state durable.
func (s *State) Close() error {
	return errors.Join(s.file.Sync(), s.file.Close())
}
