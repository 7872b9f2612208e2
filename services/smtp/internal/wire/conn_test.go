package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/pkg/listen"
)

var limits = Timeouts{Command: 5 * time.Minute, Data: 3 * time.Minute, Message: 15 * time.Minute, Write: time.Minute}

// bubble runs fn with both ends of a connection, in synthetic time.
func bubble(t *testing.T, fn func(t *testing.T, c *Conn, peer net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		inner, peer := net.Pipe()
		defer func() { _ = peer.Close() }()
		c := newConn(inner, limits)
		defer func() { _ = c.Close() }()
		fn(t, c, peer)
	})
}

// takes is how long fn took.
func takes(fn func()) time.Duration {
	begin := time.Now()
	fn()
	return time.Since(begin)
}

func TestAReadEndsWithTheTimeOfItsPhase(t *testing.T) {
	for name, c := range map[string]struct {
		message bool
		want    time.Duration
		err     error
	}{
		"between commands": {false, limits.Command, os.ErrDeadlineExceeded},
		"in a message":     {true, limits.Data, ErrMessageTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, conn *Conn, _ net.Conn) {
				if c.message {
					conn.BeginMessage()
				}
				var err error
				require.Equal(t, c.want, takes(func() { _, err = conn.Read(make([]byte, 1)) }))
				require.ErrorIs(t, err, c.err)
			})
		})
	}
}

func TestAMessageEndsForGood(t *testing.T) {
	bubble(t, func(t *testing.T, c *Conn, peer net.Conn) {
		var sending sync.WaitGroup
		sending.Go(func() { // an octet now and then
			for err := error(nil); err == nil; _, err = peer.Write([]byte("x")) {
				time.Sleep(time.Minute)
			}
		})
		c.BeginMessage()
		var err error
		took := takes(func() {
			for err == nil {
				_, err = c.Read(make([]byte, 1))
			}
		})
		require.ErrorIs(t, err, ErrMessageTimeout)
		require.Equal(t, limits.Message, took)
		_, err = c.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		c.EndMessage()
		_, err = c.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err, "the session must not go on with what is left of the message")
		require.NoError(t, c.Close())
		sending.Wait()
	})
}

func TestAWriteEnds(t *testing.T) {
	bubble(t, func(t *testing.T, c *Conn, _ net.Conn) {
		var err error
		require.Equal(t, limits.Write, takes(func() { _, err = c.Write([]byte("x")) }))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

func TestDeadlinesOfOthersAreIgnored(t *testing.T) {
	bubble(t, func(t *testing.T, c *Conn, peer net.Conn) {
		require.NoError(t, c.SetDeadline(time.Now()))
		require.NoError(t, c.SetReadDeadline(time.Now()))
		require.NoError(t, c.SetWriteDeadline(time.Now()))
		go func() { _, _ = peer.Write([]byte("x")) }()
		_, err := c.Read(make([]byte, 1))
		require.NoError(t, err)
	})
}

func TestLeavingWhileACommandIsAwaited(t *testing.T) {
	bubble(t, func(t *testing.T, c *Conn, peer net.Conn) {
		c.OnLeave(func() { _, _ = c.Write([]byte("bye\n")) })
		read := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			read <- err
		}()
		synctest.Wait()
		c.Leave("")
		c.Leave("") // says goodbye once
		got, err := io.ReadAll(peer)
		require.NoError(t, err)
		require.Equal(t, "bye\n", string(got))
		require.Equal(t, io.EOF, <-read)
	})
}

func TestLeavingWaitsForTheMessage(t *testing.T) {
	bubble(t, func(t *testing.T, c *Conn, peer net.Conn) {
		c.OnLeave(func() { _, _ = c.Write([]byte("bye\n")) })
		c.BeginMessage()
		c.Leave("")
		go func() { _, _ = peer.Write([]byte("x")) }()
		n, err := c.Read(make([]byte, 1))
		require.NoError(t, err)
		require.Equal(t, 1, n)
		c.EndMessage()
		go func() { _, _ = c.Write([]byte("250\n")); _, _ = c.Read(make([]byte, 1)) }()
		got, err := io.ReadAll(peer)
		require.NoError(t, err)
		require.Equal(t, "250\nbye\n", string(got))
	})
}

func TestAClientThatDoesNotHearTheFarewellIsCut(t *testing.T) {
	bubble(t, func(t *testing.T, c *Conn, _ net.Conn) {
		closed := false
		c.onClose(func() { closed = true })
		c.OnLeave(func() { _, _ = c.Write([]byte("bye\n")) })
		c.Leave("")
		require.Equal(t, limits.Write, takes(func() {
			_, err := c.Read(make([]byte, 1))
			require.Equal(t, io.EOF, err)
		}))
		require.True(t, closed)
	})
}

func TestUnwrap(t *testing.T) {
	c := newConn(nil, limits)
	require.Same(t, c, Unwrap(tls.Server(c, nil)))
	require.Nil(t, Unwrap(&net.TCPConn{}))
}

// TestSessionsThatComeAndGoWhileTheServerStops closes connections at every moment of their beginning.
func TestSessionsThatComeAndGoWhileTheServerStops(t *testing.T) {
	for range 50 {
		inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		l := &Listener{Listener: inner, Timeouts: limits, Sessions: listen.NewSessions(), Farewell: "421 bye\r\n"}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
			_, _ = c.Write([]byte("220\r\n"))
			_, _ = c.Read(make([]byte, 1))
		}()
		peer, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", inner.Addr().String())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // closes those that are there, at once
		l.Sessions.Drain(ctx, 0, "")
		require.NoError(t, peer.SetReadDeadline(time.Now().Add(30*time.Second)))
		_, err = bufio.NewReader(peer).ReadString('!')
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the session was left open")
		<-ended
		require.Zero(t, l.Sessions.Len())
		_ = inner.Close()
		_ = peer.Close()
	}
}
