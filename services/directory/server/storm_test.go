package server

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/yubin-mail/yubin/pkg/sasl"
)

// Everybody comes at once, as after the restart of a gateway. What can be computed at a time is little; the others wait in turn, and none is sent away.
func TestLoginStorm(t *testing.T) {
	const people, devices = 100, 3
	s := start(t, "--directory-argon2-parallel=1", "--directory-argon2-wait=10m")
	for i := range people {
		s.create(fmt.Sprintf("user%d@example.test", i), secret)
	}
	storm := func() {
		t.Helper()
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i := range people * devices {
			user := fmt.Sprintf("user%d@example.test", i%people)
			wg.Go(func() {
				<-begin
				account, err := sasl.Plain(context.WithoutCancel(t.Context()), s.gateway, user, secret, from(fmt.Sprintf("192.0.2.%d", i%people), "imap"))
				if err != nil || account.GetAddress() != user {
					t.Errorf("%s: %v, %v", user, account, err)
				}
			})
		}
		close(begin)
		wg.Wait()
	}
	before := s.computed()
	storm()
	if n := s.computed() - before; n != people {
		t.Errorf("%d logins of %d people cost %d computations", people*devices, people, n)
	}
	// The directory has stayed, and remembers them.
	storm()
	if n := s.computed() - before; n != people {
		t.Errorf("the second storm cost %d computations", n-people)
	}
}
