package netfault

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// echo answers each line with itself.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestLink(t *testing.T) {
	l := New(t, "here", "there", echo(t))
	conn, err := net.Dial("tcp", l.Addr())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	ask := func(text string) string {
		_, err := fmt.Fprintln(conn, text)
		require.NoError(t, err)
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		return line
	}
	require.Equal(t, "one\n", ask("one"))

	l.Set(State{Delay: time.Millisecond})
	require.Equal(t, "two\n", ask("two"))

	l.Set(State{Silent: true})
	_, err = fmt.Fprintln(conn, "three")
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = r.ReadString('\n')
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nothing comes through")
	require.NoError(t, conn.SetReadDeadline(time.Time{}))
	l.Set(State{})
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "three\n", line, "what was held up comes when the link is well again")

	l.Set(State{Mute: true})
	_, err = fmt.Fprintln(conn, "lost")
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = r.ReadString('\n')
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "no answer comes")
	require.NoError(t, conn.SetReadDeadline(time.Time{}))
	l.Set(State{})
	_, err = r.ReadString('\n')
	require.Error(t, err, "nor later")
	conn, err = net.Dial("tcp", l.Addr())
	require.NoError(t, err)
	r = bufio.NewReader(conn)
	require.Equal(t, "anew\n", ask("anew"))

	l.Set(State{Cut: true})
	_, err = r.ReadString('\n')
	require.Error(t, err, "the connection breaks")
	if again, err := net.Dial("tcp", l.Addr()); err == nil {
		_, err = again.Read(make([]byte, 1))
		require.Error(t, err, "and so does a new one")
		require.NoError(t, again.Close())
	}

	l.Set(State{})
	conn, err = net.Dial("tcp", l.Addr())
	require.NoError(t, err)
	r = bufio.NewReader(conn)
	require.Equal(t, "four\n", ask("four"))
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	_, err = r.ReadString('\n')
	require.ErrorIs(t, err, io.EOF, "an end is passed on as such")
}
