package login

import (
	"fmt"
	"sync"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// A gateway goes away with all its sessions, and all come back at once: each gets in, those whose password the directory does not remember too.
func TestEverybodyComesBackAtOnce(t *testing.T) {
	const devices = 10
	var people []string
	for i := range 12 {
		people = append(people, fmt.Sprintf("user%d", i))
	}
	s := harness.Start(t, harness.Options{Shape: harness.Split, Accounts: people, Args: []string{"--directory-argon2-parallel", "1"}})
	come := func() {
		t.Helper()
		config := s.TLS(t)
		var wg sync.WaitGroup
		for i := range len(people) * devices {
			user := harness.Address(people[i%len(people)])
			wg.Go(func() {
				c, err := imapclient.DialTLS(s.IMAPS[0], &imapclient.Options{TLSConfig: config})
				if err != nil {
					t.Errorf("%s: connect: %v", user, err)
					return
				}
				t.Cleanup(func() { _ = c.Close() })
				if err := c.Login(user, harness.Password).Wait(); err != nil {
					t.Errorf("%s: %v", user, err)
				}
			})
		}
		wg.Wait()
	}
	come()
	for _, name := range []string{"imap-0", "directory"} { // the second time nobody is remembered
		p := s.Process(t, name)
		p.Kill()
		p.Start(t)
		s.Process(t, "imap-0").WaitReady(t)
		require.True(t, p.Running())
		come()
	}
}
