package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/pkg/testserver/minio"
	"github.com/yubin-mail/yubin/tests/harness"
	"github.com/yubin-mail/yubin/tests/netfault"
)

// pipeline compares a client that asks for many messages at once with one that waits for each: with large messages in a directory and in an object
// store that is far away, and with small ones, of which little is gained.
func pipeline(r *run) {
	t := times{}
	server := minio.Start(r)
	link := netfault.New(r, "storage", "minio", server.Addr)
	link.Set(netfault.State{Delay: 10 * time.Millisecond})
	secret := filepath.Join(r.TempDir(), "s3-secret")
	require.NoError(r, os.WriteFile(secret, []byte(server.SecretKey), 0o600))
	nothingKept := []string{"--storage-read-cache", "1MiB"} // less than is read between two times
	small := mail(4 << 10)
	large := mail(200_000) // larger than what storage gives many of at once
	measure := func(name string, s *harness.System, message []byte, messages int) func() {
		device := alice(r, s)
		device.fill(messages, func() { s.Deliver(r, "alice", message) })
		device.do("SELECT INBOX")
		var commands []string
		for i := range messages {
			commands = append(commands, fmt.Sprintf("UID FETCH %d BODY.PEEK[]", i+1))
		}
		return func() {
			t.take(name+"-waited", 1, func() {
				for _, command := range commands {
					device.do(command)
				}
			})
			t.take(name+"-pipelined", 1, func() { device.pipeline(commands) })
		}
	}
	takes := []func(){
		measure("embedded", r.system(0, nothingKept...), large, r.size(40)),
		measure("s3", r.system(0, append([]string{
			"--storage-s3-endpoint", "http://" + link.Addr(), "--storage-s3-bucket", server.Bucket(r),
			"--storage-s3-access-key", server.AccessKey, "--storage-s3-secret-key-file", secret,
		}, nothingKept...)...), large, r.size(40)),
		measure("small", r.system(0, nothingKept...), small, r.size(1000)),
	}
	for r.more() {
		for _, take := range takes {
			take()
		}
	}
	for _, name := range []string{"embedded", "s3", "small"} {
		r.report(t.ratio(name+"-pipelined", name+"-waited"), name+"-time-pipelined-to-waited")
	}
}

// pipeline sends IMAP commands at once. All must succeed.
func (s *stream) pipeline(commands []string) {
	s.r.Helper()
	var script strings.Builder
	for _, command := range commands {
		s.tag++
		fmt.Fprintf(&script, "a%d %s\r\n", s.tag, command)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := s.conn.Write([]byte(script.String()))
		sent <- err
	}()
	for left := len(commands); left > 0; {
		line := s.line()
		if line[0] == 'a' {
			require.True(s.r, bytes.Contains(line, []byte(" OK ")), "%s", line)
			left--
		}
		for s.literal(line) > 0 {
			line = s.line()
		}
	}
	require.NoError(s.r, <-sent)
}
