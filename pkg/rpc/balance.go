package rpc

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// leastBusy is the policy by which calls are spread over the replicas that report themselves as serving: each goes to the
// replica on which this process has the fewest calls open, one of them at random. A replica that answers slowly, or not at
// all, thereby gets less to do.
const leastBusy = "yubin_least_busy"

func init() { // gRPC knows policies by name, in its service configuration only
	balancer.Register(base.NewBalancerBuilder(leastBusy, pickers{}, base.Config{HealthCheck: true}))
}

type pickers struct{}

// Build implements base.PickerBuilder.
func (pickers) Build(info base.PickerBuildInfo) balancer.Picker {
	if len(info.ReadySCs) == 0 {
		return base.NewErrPicker(balancer.ErrNoSubConnAvailable)
	}
	p := &picker{}
	for conn := range info.ReadySCs {
		p.replicas = append(p.replicas, &replica{conn: conn})
	}
	return p
}

type replica struct {
	conn balancer.SubConn
	busy atomic.Int64
}

type picker struct{ replicas []*replica }

// errNoOther fails a second attempt that would meet the replica of the first.
var errNoOther = status.Error(codes.Unavailable, "there is no other replica")

// Pick implements balancer.Picker.
func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	attempt, _ := info.Ctx.Value(attemptKey{}).(*attempt)
	r := p.choose(attempt)
	if r == nil {
		return balancer.PickResult{}, errNoOther
	}
	attempt.met(r.conn)
	if lasting(info.FullMethodName) {
		return balancer.PickResult{SubConn: r.conn}, nil
	}
	r.busy.Add(1)
	return balancer.PickResult{SubConn: r.conn, Done: func(balancer.DoneInfo) { r.busy.Add(-1) }}, nil
}

// choose gives the least busy replica that the attempt's call has not met yet; else the least busy of all, or nil if it
// must be another one.
func (p *picker) choose(a *attempt) *replica {
	var best, fresh *replica
	first := rand.IntN(len(p.replicas)) // #nosec G404 -- spreads load, hides nothing
	for i := range p.replicas {
		r := p.replicas[(first+i)%len(p.replicas)]
		if best == nil || r.busy.Load() < best.busy.Load() {
			best = r
		}
		if !a.hasMet(r.conn) && (fresh == nil || r.busy.Load() < fresh.busy.Load()) {
			fresh = r
		}
	}
	if fresh != nil || a != nil && a.elsewhere {
		return fresh
	}
	return best
}

// call remembers which replicas the attempts of one call have met.
type call struct {
	mu  sync.Mutex
	met []balancer.SubConn
}

type attemptKey struct{}

// attempt is one of those that a call may take.
type attempt struct {
	call      *call
	elsewhere bool // it must meet a replica that the call has not met
}

func withAttempt(ctx context.Context, c *call, elsewhere bool) context.Context {
	return context.WithValue(ctx, attemptKey{}, &attempt{call: c, elsewhere: elsewhere})
}

func (a *attempt) met(conn balancer.SubConn) {
	if a == nil {
		return
	}
	a.call.mu.Lock()
	defer a.call.mu.Unlock()
	a.call.met = append(a.call.met, conn)
}

func (a *attempt) hasMet(conn balancer.SubConn) bool {
	if a == nil {
		return false
	}
	a.call.mu.Lock()
	defer a.call.mu.Unlock()
	return slices.Contains(a.call.met, conn)
}
