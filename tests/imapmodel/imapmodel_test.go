package imapmodel

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/tests/harness"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "seed of the only sequence to play; 0: three that are always the same, and more by the clock")
	gamesFlag = flag.Int("games", 1, "how many sequences to play by seeds of the clock")
	stepsFlag = flag.Int("steps", 600, "length of a sequence")
)

// TestRandomCommandsAgainstAModel plays random sequences. One that fails is shown as short as it can be made.
func TestRandomCommandsAgainstAModel(t *testing.T) {
	s := harness.Start(t, harness.Options{Args: []string{
		"--directory-argon2-memory", "1MiB", "--directory-argon2-time", "1", "--directory-scram-iterations", "4096",
	}})
	s.CLI(t, "domain", "add", harness.Domain)
	seeds := []uint64{*seedFlag}
	if *seedFlag == 0 {
		seeds = []uint64{1, 2, 3}
		for i := range *gamesFlag {
			seeds = append(seeds, uint64(time.Now().UnixNano())+uint64(i))
		}
	}
	games := 0
	play := func(sessions []kind, steps []step) (*game, error) {
		games++
		name := fmt.Sprint("player", games)
		s.AddAccount(t, name)
		g := &game{addr: s.IMAPS[0], config: s.TLS(t), address: harness.Address(name)}
		return g, g.play(sessions, steps)
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			sessions, steps := sequence(seed, *stepsFlag)
			g, err := play(sessions, steps)
			if err == nil {
				t.Logf("%d steps of %d sessions, %d lines", len(steps), len(sessions), len(g.log))
				return
			}
			t.Errorf("-seed %d -steps %d: %v", seed, *stepsFlag, err)
			short := shrink(steps, func(steps []step) bool {
				_, other := play(sessions, steps)
				return other != nil && likeness(other) == likeness(err)
			})
			g, err = play(sessions, short)
			t.Logf("%d steps are enough: %v: %v\n%s", len(short), short, err, strings.Join(g.log[max(0, len(g.log)-150):], "\n"))
		})
	}
}

// sequence makes the sessions and the steps of a game.
func sequence(seed uint64, n int) (sessions []kind, steps []step) {
	r := rand.New(rand.NewPCG(seed, 1))
	for range 2 + r.IntN(3) {
		sessions = append(sessions, kinds[r.IntN(len(kinds))])
	}
	for range n {
		steps = append(steps, step{r.IntN(len(sessions)), r.Uint64()})
	}
	return sessions, steps
}

// likeness is what failures have in common that have one cause: the end of their texts, without numbers.
func likeness(err error) string {
	text := err.Error()
	text = text[strings.LastIndex(text, ": ")+1:]
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
}

// maxGames bounds what is tried to make a sequence shorter.
const maxGames = 150

// shrink leaves out steps as long as the game fails: first many at once, in the end one at a time.
func shrink(steps []step, fails func([]step) bool) []step {
	games := 0
	for size := len(steps) / 2; size > 0; size /= 2 {
		for from := len(steps) - size; from >= 0; from -= size {
			if games++; games > maxGames {
				return steps
			}
			if less := slices.Delete(slices.Clone(steps), from, from+size); fails(less) {
				steps = less
				from = min(from, len(steps)-size) + size
			}
		}
	}
	return steps
}

func TestShrinkFindsTheStepsThatFail(t *testing.T) {
	steps := make([]step, 100)
	for i := range steps {
		steps[i].seed = uint64(i)
	}
	got := shrink(steps, func(some []step) bool {
		return slices.Contains(some, steps[17]) && slices.Contains(some, steps[83])
	})
	if len(got) != 2 {
		t.Fatalf("%d steps are left", len(got))
	}
}
