package service

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/rpc"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
)

// readiness asks a service whether it is ready, and gives the text of a check.
func readiness(t *testing.T, s *Service, check string) (ready bool, text string) {
	t.Helper()
	status := s.Health.Status()
	return s.Health.Ready() == nil, status[check]
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to it that %s", what)
		}
	}
}

// TestGatewayStaysReady: a gateway that loses a service it needs says so, and stays ready for the grace period.
func TestGatewayStaysReady(t *testing.T) {
	ca := newAuthority(t)
	address := listenAddress(t)
	var serving sync.WaitGroup
	serve := func() (stop func()) {
		files := files(t, ca, "quota")
		ctx, cancel := context.WithCancel(t.Context())
		started := make(chan struct{})
		serving.Go(func() {
			code, _, text := begin(t, func(_ context.Context, s *Service, _ *settings) error {
				server, err := s.RPCServer()
				if err != nil {
					return err
				}
				quotav1.RegisterQuotaServiceServer(server, quota{})
				return s.Run(ctx, rpc.Component(address, server, s.Log), lifecycle.Component{Name: "started", Run: func(ctx context.Context) error {
					close(started)
					<-ctx.Done()
					return nil
				}})
			}, nil, files...)
			if code != exitOK {
				t.Errorf("the backend has failed: %s", text)
			}
		})
		<-started
		return func() {
			cancel()
			serving.Wait()
		}
	}
	for name, grace := range map[string]string{"long grace": "1h", "no grace": "0s"} {
		t.Run(name, func(t *testing.T) {
			code, _, text := begin(t, func(ctx context.Context, s *Service, _ *settings) error {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				if _, err := s.DialNeeded(address, "quota"); err != nil {
					return err
				}
				go func() {
					defer cancel()
					eventually(t, "the gateway knows that it cannot reach quota", func() bool {
						ready, text := readiness(t, s, "quota")
						return !ready && text == rpc.ErrNoReplica.Error()
					})
					stop := serve()
					eventually(t, "it is ready", func() bool { ready, text := readiness(t, s, "quota"); return ready && text == "ok" })
					stop()
					eventually(t, "it has lost quota", func() bool { _, text := readiness(t, s, "quota"); return text != "ok" })
					if grace == "0s" {
						eventually(t, "it is not ready", func() bool { ready, _ := readiness(t, s, "quota"); return !ready })
					} else if ready, text := readiness(t, s, "quota"); !ready {
						t.Errorf("it is not ready: %s", text)
					}
					defer serve()()
					eventually(t, "it is well again", func() bool { ready, text := readiness(t, s, "quota"); return ready && text == "ok" })
				}()
				return s.Run(ctx)
			}, nil, append(files(t, ca, "smtp"), "--ready-grace", grace)...)
			if code != exitOK {
				t.Errorf("%d %s", code, text)
			}
		})
	}
}

// listenAddress gives an address that nobody else takes while nothing listens on it: one of many of the loopback network.
func listenAddress(t *testing.T) string {
	t.Helper()
	host := net.IPv4(127, byte(rand.N(255)), byte(rand.N(255)), byte(1+rand.N(250))).String()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
