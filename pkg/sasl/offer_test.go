package sasl

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/yubin-mail/yubin/pkg/rpc"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
)

// lister is a directory whose mechanisms are set by hand.
type lister struct {
	directoryv1.UnimplementedDirectoryServiceServer
	mu    sync.Mutex
	names []string // nil: it fails
	hang  bool
	asked int
}

func (l *lister) ListMechanisms(ctx context.Context, _ *directoryv1.ListMechanismsRequest) (*directoryv1.ListMechanismsResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	if l.hang {
		<-ctx.Done()
	}
	if l.names == nil {
		return nil, errors.New("out of order")
	}
	return &directoryv1.ListMechanismsResponse{Mechanisms: l.names}, nil
}

func (l *lister) set(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = names
}

func (l *lister) offer() *Offer {
	in := rpc.NewInproc(slog.New(slog.DiscardHandler), nil)
	directoryv1.RegisterDirectoryServiceServer(in, l)
	return NewOffer(directoryv1.NewDirectoryServiceClient(in.Client("imap")))
}

var bindings = []*directoryv1.ChannelBinding{{Type: "tls-exporter", Data: []byte("x")}}

func TestMechanisms(t *testing.T) {
	for _, tt := range []struct {
		has       []string
		plaintext bool
		bindings  []*directoryv1.ChannelBinding
		want      string
		bound     bool
	}{
		{Known(), true, bindings, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN", true},
		{Known(), true, nil, "SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN", false},
		{Known(), false, nil, "SCRAM-SHA-256", false},
		{[]string{"LOGIN", "PLAIN", "GSSAPI"}, true, bindings, "PLAIN LOGIN", false},
		{[]string{"LOGIN", "PLAIN"}, false, nil, "", false},
		{nil, true, bindings, "SCRAM-SHA-256 PLAIN LOGIN", false}, // a directory that cannot say
	} {
		o := (&lister{names: tt.has}).offer()
		if got := strings.Join(o.Mechanisms(tt.plaintext, tt.bindings), " "); got != tt.want {
			t.Errorf("%q, plaintext %v, %d bindings: %s, want %s", tt.has, tt.plaintext, len(tt.bindings), got, tt.want)
		}
		if got := o.Bindings(tt.bindings); (len(got) > 0) != tt.bound {
			t.Errorf("%q: bindings %v", tt.has, got)
		}
	}
}

// What the directory has is learnt again, without anybody waiting, and kept while it does not answer.
func TestOfferFollowsTheDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lister{}
		o := l.offer()
		is := func(want ...string) {
			t.Helper()
			begun := time.Now()
			o.Mechanisms(true, nil)
			if waited := time.Since(begun); waited > 0 {
				t.Errorf("waited %v", waited)
			}
			synctest.Wait() // until it has asked
			if got := o.Mechanisms(true, nil); !slices.Equal(got, want) {
				t.Errorf("offers %q, want %q", got, want)
			}
		}
		is(common...)
		l.set("PLAIN")
		is(common...)
		time.Sleep(offerRetry + time.Second)
		is("PLAIN")
		l.set("LOGIN")
		is("PLAIN")
		time.Sleep(offerAge + time.Second)
		is("LOGIN")
		l.set()
		time.Sleep(offerAge + time.Second)
		is("LOGIN")
		if l.asked != 4 {
			t.Errorf("asked %d times, want 4", l.asked)
		}
	})
}

// A directory that does not answer delays the first client, and nobody for longer.
func TestOfferOfASilentDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := (&lister{hang: true}).offer()
		begun := time.Now()
		if got := o.Mechanisms(true, nil); !slices.Equal(got, common) {
			t.Errorf("offers %q", got)
		}
		if waited := time.Since(begun); waited > offerTimeout {
			t.Errorf("waited %v", waited)
		}
		time.Sleep(offerRetry + time.Second)
		begun = time.Now()
		o.Mechanisms(true, nil)
		if waited := time.Since(begun); waited > 0 {
			t.Errorf("then waited %v", waited)
		}
		synctest.Wait()
		time.Sleep(offerTimeout)
	})
}
