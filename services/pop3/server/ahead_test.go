package server

import (
	"fmt"
	"strings"
	"testing"
)

// numbered makes messages of about size octets.
func numbered(n, size int) (messages []string) {
	for i := range n {
		messages = append(messages, fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n", i+1, strings.Repeat("x", size)))
	}
	return messages
}

func TestDownloadInOrderReadsManyAtATime(t *testing.T) {
	messages := append(numbered(250, 100), numbered(10, 100_000)...)
	messages = append(messages, numbered(1, 200_000)...)
	messages = append(messages, numbered(3, 10)...)
	store := newStorage(messages...)
	c := newWorld(t, store).login()
	for i, want := range messages {
		c.ok(fmt.Sprint("RETR ", i+1))
		if got := strings.Join(c.lines(), "\r\n") + "\r\n"; got != want {
			t.Fatalf("RETR %d: %d octets, want %d", i+1, len(got), len(want))
		}
		c.ok(fmt.Sprint("DELE ", i+1))
	}
	store.mu.Lock()
	defer store.mu.Unlock()
	// All but the one that is too large; a hundred, or half a MiB, at a time.
	if store.together != len(messages)-1 || store.fetches > 7 {
		t.Errorf("%d of %d messages in %d calls", store.together, len(messages), store.fetches)
	}
}

func TestMessageThatIsGoneWhenItIsReadAheadIsLeftOut(t *testing.T) {
	store := newStorage(numbered(4, 10)...)
	c := newWorld(t, store).login()
	store.mu.Lock()
	delete(store.messages, 3) // the second
	store.mu.Unlock()
	c.ok("RETR 1")
	c.lines()
	c.fails("RETR 2", "message 2 is no longer there")
	c.ok("RETR 3")
	if got := c.lines()[0]; got != "Subject: 3" {
		t.Errorf("RETR 3 gives %q", got)
	}
}

func TestRetrievalOutOfOrderReadsNoOthers(t *testing.T) {
	store := newStorage(numbered(4, 10)...)
	c := newWorld(t, store).login()
	for _, n := range []int{4, 2, 2, 1} {
		c.ok(fmt.Sprint("RETR ", n))
		if got, want := c.lines()[0], fmt.Sprint("Subject: ", n); got != want {
			t.Errorf("RETR %d gives %q", n, got)
		}
	}
	store.mu.Lock()
	defer store.mu.Unlock()
	if store.together != 0 {
		t.Errorf("%d messages were read with others", store.together)
	}
}
