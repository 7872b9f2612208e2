package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/yubin-mail/yubin/pkg/rpc"
)

// maxSecret bounds a password that is read, in octets.
const maxSecret = 4096

// passwordSource is where a new password comes from: a flag, or the terminal.
type passwordSource struct {
	stdin, generate, none bool
}

func (p *passwordSource) declare(cmd *cobra.Command, optional bool) {
	fs := cmd.Flags()
	fs.BoolVar(&p.stdin, "password-stdin", false, "read the password from the first line of standard input")
	fs.BoolVar(&p.generate, "generate", false, "make a random password and print it")
	exclusive := []string{"password-stdin", "generate"}
	if optional {
		fs.BoolVar(&p.none, "no-password", false, "no password: nobody can log in until one is set")
		exclusive = append(exclusive, "no-password")
	}
	cmd.MarkFlagsMutuallyExclusive(exclusive...)
}

func (p *passwordSource) read(a *app, cmd *cobra.Command, prompt string) (string, error) {
	switch {
	case p.none:
		return "", nil
	case p.generate:
		return generatePassword(), nil
	case p.stdin:
		return a.firstLine()
	case !a.interactive():
		return "", usagef(cmd, "there is no terminal to ask for the password: give --password-stdin or --generate")
	}
	first, err := a.hidden(cmd.Context(), prompt)
	if err != nil {
		return "", err
	}
	if first == "" {
		return "", errors.New("the password is empty: nothing was changed; to be without one is what --no-password is for")
	}
	second, err := a.hidden(cmd.Context(), "Again")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ: nothing was changed")
	}
	return first, nil
}

// generatePassword gives 26 characters of base32: 130 random bits, in groups that can be typed.
func generatePassword() string {
	text := strings.ToLower(rand.Text())
	var groups []string
	for len(text) > 5 {
		groups, text = append(groups, text[:5]), text[5:]
	}
	return strings.Join(append(groups, text), "-")
}

// firstLine reads a password from standard input, without the line's end.
func (a *app) firstLine() (string, error) {
	line, err := bufio.NewReader(io.LimitReader(a.in, maxSecret)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read password: %w", err)
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if line == "" {
		return "", errors.New("read password: standard input begins with an empty line")
	}
	return line, nil
}

// terminal gives standard input's descriptor if a person sits there.
func (a *app) terminal() (fd int, ok bool) {
	f, isFile := a.in.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	return int(f.Fd()), true
}

func (a *app) interactive() bool {
	_, ok := a.terminal()
	return ok
}

// hidden asks on the terminal, without echo.
func (a *app) hidden(ctx context.Context, prompt string) (string, error) {
	fd, _ := a.terminal()
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	fmt.Fprintf(a.errOut, "%s: ", prompt)
	secret, err := interruptible(ctx, func() (string, error) {
		secret, err := term.ReadPassword(fd)
		return string(secret), err
	})
	fmt.Fprintln(a.errOut)
	if err != nil {
		return "", errors.Join(fmt.Errorf("read password: %w", err), term.Restore(fd, before))
	}
	return secret, nil
}

// interruptible lets Ctrl-C end the wait for a person's answer. The read that goes on ends with the process.
func interruptible(ctx context.Context, read func() (string, error)) (string, error) {
	type answer struct {
		text string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := read()
		answered <- answer{text, err}
	}()
	select {
	case a := <-answered:
		return a.text, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// patient bounds a call whose work grows with a mailbox: --timeout if that was made longer, else ten minutes.
func (a *app) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := 10 * time.Minute
	if a.timeout > rpc.DefaultTimeout {
		timeout = max(timeout, a.timeout)
	}
	return context.WithTimeout(ctx, timeout)
}
