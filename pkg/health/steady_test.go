package health

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSteady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewChecks()
		changes := 0
		s := c.NewSteady("storage", time.Minute, 5*time.Second)
		c.OnChange(func(bool) { changes++ })
		away := errors.New("out of reach")
		expect := func(ready bool, text string) {
			t.Helper()
			synctest.Wait()
			if got := c.Ready() == nil; got != ready {
				t.Errorf("ready is %v", got)
			}
			if got := c.Status()["storage"]; !strings.Contains(got, text) {
				t.Errorf("status is %q", got)
			}
		}
		expect(false, "not checked yet")
		s.Tell(away)
		expect(false, "out of reach")
		s.Tell(nil)
		time.Sleep(5 * time.Second)
		expect(true, "ok")

		for range 100 { // it comes and goes
			s.Tell(away)
			time.Sleep(30 * time.Second)
			expect(true, "ok, but out of reach since ")
			s.Tell(nil)
			expect(true, "ok")
			time.Sleep(time.Second)
		}
		if changes != 2 { // the first call, and ready
			t.Errorf("readiness was told %d times", changes)
		}

		s.Tell(away)
		time.Sleep(40 * time.Second)
		s.Tell(away) // the grace goes on
		time.Sleep(20 * time.Second)
		expect(false, "out of reach, for more than 1m0s")
		s.Tell(nil)
		time.Sleep(4 * time.Second)
		expect(false, "out of reach")
		s.Tell(away)
		time.Sleep(time.Minute)
		expect(false, "out of reach")
		s.Tell(nil)
		s.Tell(nil)
		time.Sleep(5 * time.Second)
		expect(true, "ok")
		if changes != 4 {
			t.Errorf("readiness was told %d times", changes)
		}
	})
}

func TestSteadyThatIsThereAtOnce(t *testing.T) {
	c := NewChecks()
	c.NewSteady("storage", time.Minute, time.Minute).Tell(nil)
	if err := c.Ready(); err != nil {
		t.Error(err)
	}
}
