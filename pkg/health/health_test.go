package health

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestChecks(t *testing.T) {
	c := NewChecks("database", "quota")
	var seen []bool
	c.OnChange(func(ready bool) { seen = append(seen, ready) })
	if c.Ready() == nil {
		t.Error("ready before any check ran")
	}
	c.Set("database", nil)
	if err := c.Ready(); err == nil || !strings.Contains(err.Error(), "quota: ") || strings.Contains(err.Error(), "database") {
		t.Errorf("got %v", err)
	}
	c.Set("quota", nil)
	c.Set("quota", nil)
	if err := c.Ready(); err != nil {
		t.Error(err)
	}
	broken := errors.New("connection refused")
	c.Set("quota", broken)
	if err := c.Ready(); !errors.Is(err, broken) || c.Status()["quota"] != "connection refused" || c.Status()["database"] != "ok" {
		t.Errorf("got %v, %v", err, c.Status())
	}
	c.Set("quota", nil)
	c.StartDraining()
	if err := c.Ready(); !errors.Is(err, ErrDraining) || c.Status()["draining"] == "" {
		t.Errorf("got %v", err)
	}
	c.Set("quota", nil)
	if want := []bool{false, true, false, true, false}; !slices.Equal(seen, want) {
		t.Errorf("watcher saw %v, want %v", seen, want)
	}
}

func TestZeroChecksAreReady(t *testing.T) {
	if err := new(Checks).Ready(); err != nil {
		t.Error(err)
	}
}
