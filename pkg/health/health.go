// Package health keeps the named checks of a process and tells whether it is
// ready to serve.
package health

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// ErrDraining is why a process that leaves is not ready.
var ErrDraining = errors.New("draining: the process is shutting down")

// errPending is the state of a check that was declared but has not run.
var errPending = errors.New("not checked yet")

// Checks is a set of named checks. Its zero value has none and is ready. It is safe for concurrent use.
type Checks struct {
	mu       sync.Mutex
	checks   map[string]error
	notes    map[string]string // of checks that succeed, but not without a word
	draining bool
	watchers []func(ready bool)
}

// NewChecks makes checks that fail until each name was Set.
func NewChecks(names ...string) *Checks {
	c := &Checks{}
	for _, name := range names {
		c.Set(name, errPending)
	}
	return c
}

// Set records the outcome of a check; nil is success.
func (c *Checks) Set(name string, err error) {
	c.update(func() {
		if c.checks == nil {
			c.checks = map[string]error{}
		}
		c.checks[name] = err
		delete(c.notes, name)
	})
}

// Note records that a check succeeds, and what should be known of it nevertheless.
func (c *Checks) Note(name, text string) {
	c.update(func() {
		if c.checks == nil {
			c.checks = map[string]error{}
		}
		if c.notes == nil {
			c.notes = map[string]string{}
		}
		c.checks[name], c.notes[name] = nil, text
	})
}

// StartDraining makes the process not ready for good.
func (c *Checks) StartDraining() {
	c.update(func() { c.draining = true })
}

// update changes the state and tells the watchers, in order, whether it is ready now.
// The lock is held meanwhile so that they see changes in the order they happened.
func (c *Checks) update(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.readyLocked() == nil
	change()
	if after := c.readyLocked() == nil; after != before {
		for _, watch := range c.watchers {
			watch(after)
		}
	}
}

// Ready is nil if the process can serve, and otherwise says everything that is wrong.
func (c *Checks) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readyLocked()
}

func (c *Checks) readyLocked() error {
	var errs []error
	if c.draining {
		errs = append(errs, ErrDraining)
	}
	for _, name := range slices.Sorted(maps.Keys(c.checks)) {
		if err := c.checks[name]; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// Status gives the text of every check by name: "ok", with a note if there is one, or what is wrong.
func (c *Checks) Status() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]string{}
	for name, err := range c.checks {
		switch note := c.notes[name]; {
		case err != nil:
			out[name] = err.Error()
		case note != "":
			out[name] = "ok, but " + note
		default:
			out[name] = "ok"
		}
	}
	if c.draining {
		out["draining"] = ErrDraining.Error()
	}
	return out
}

// OnChange calls fn at once with whether the process is ready, and again at every change.
// fn must not block nor call Checks.
func (c *Checks) OnChange(fn func(ready bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers = append(c.watchers, fn)
	fn(c.readyLocked() == nil)
}
