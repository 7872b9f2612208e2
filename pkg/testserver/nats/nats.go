// Package nats runs a NATS server for tests, inside their process.
package nats

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// startTimeout is how long the server may take until it answers, on a machine that is busy with other tests.
const startTimeout = time.Minute

// Server is a NATS server on 127.0.0.1. Its address stays the same when it starts again. Methods are for one goroutine.
type Server struct {
	port   int
	server *natsserver.Server // nil: stopped
}

// Start starts a server, which ends with the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{}
	tb.Cleanup(s.Stop)
	for range 20 {
		// Below the ports that Linux gives to connections by itself, so that none of them takes it while the server is stopped.
		s.port = 10_000 + rand.IntN(22_000)   // #nosec G404
		l, err := net.Listen("tcp", s.Addr()) //nolint:noctx // loopback, at once
		if err != nil {
			continue
		}
		_ = l.Close()
		if s.launch() {
			return s
		}
	}
	tb.Fatal("the nats server does not start")
	return nil
}

func (s *Server) launch() bool {
	server, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: s.port, NoLog: true, NoSigs: true})
	if err != nil {
		return false
	}
	go server.Start()
	if !server.ReadyForConnections(startTimeout) {
		server.Shutdown()
		return false
	}
	s.server = server
	return true
}

// Addr gives host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is for clients.
func (s *Server) URL() string { return "nats://" + s.Addr() }

// Stop ends the server and its connections.
func (s *Server) Stop() {
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
		s.server = nil
	}
}

// Restart starts a server that was stopped.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	if !s.launch() {
		tb.Fatal("the nats server does not start again")
	}
}
