package metrics

import (
	"context"
	"encoding/hex"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// collector takes traces over OTLP.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	addr string

	mu    sync.Mutex
	spans []span
}

// span is what the tests look at of a span.
type span struct {
	service, name     string
	trace, id, parent string
	failed            bool
	text              string // all that it says
}

// Export implements collectorv1.TraceServiceServer.
func (c *collector) Export(_ context.Context, req *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range req.GetResourceSpans() {
		service := ""
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, span{
					service: service, name: s.GetName(), text: s.GetName() + attributes(s.GetAttributes()) + s.GetStatus().GetMessage() + events(s.GetEvents()), failed: s.GetStatus().GetCode() == tracev1.Status_STATUS_CODE_ERROR,
					trace: hex.EncodeToString(s.GetTraceId()), id: hex.EncodeToString(s.GetSpanId()), parent: hex.EncodeToString(s.GetParentSpanId()),
				})
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func attributes(list []*commonv1.KeyValue) string {
	var b strings.Builder
	for _, a := range list {
		b.WriteString(" " + a.GetKey() + "=" + a.GetValue().String())
	}
	return b.String()
}

func events(list []*tracev1.Span_Event) string {
	var b strings.Builder
	for _, e := range list {
		b.WriteString(" " + e.GetName() + attributes(e.GetAttributes()))
	}
	return b.String()
}

func startCollector(tb testing.TB) *collector {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	c := &collector{addr: l.Addr().String()}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, c)
	go func() { _ = server.Serve(l) }()
	tb.Cleanup(server.Stop)
	return c
}

// all gives what has come so far.
func (c *collector) all() []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]span(nil), c.spans...)
}

// await waits for a trace that begins with a span of a name and has below it, at any depth, spans whose names begin so. It gives the trace, the first
// span first.
func (c *collector) await(tb testing.TB, root string, wanted ...string) []span {
	tb.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		spans := c.all()
		var seen []string
		for _, s := range spans {
			if s.name != root || s.parent != "" {
				continue
			}
			tree := below(spans, s)
			var names []string
			for _, t := range tree {
				names = append(names, t.service+": "+t.name)
			}
			seen = append(seen, strings.Join(names, ", "))
			if containsAll(tree, wanted) {
				return tree
			}
		}
		if time.Now().After(deadline) {
			tb.Fatalf("no trace of %s with all of %q, but\n%s", root, wanted, strings.Join(seen, "\n"))
		}
		time.Sleep(50 * time.Millisecond) // until the processes have sent it
	}
}

// below gives the spans of a trace that are connected with its root, which comes first.
func below(spans []span, root span) []span {
	out, known := []span{root}, map[string]bool{root.id: true}
	for n := 0; n != len(out); {
		n = len(out)
		for _, s := range spans {
			if s.trace == root.trace && !known[s.id] && known[s.parent] {
				known[s.id] = true
				out = append(out, s)
			}
		}
	}
	return out
}

func containsAll(tree []span, names []string) bool {
	for _, name := range names {
		found := false
		for _, s := range tree {
			found = found || strings.HasPrefix(s.service+": "+s.name, name)
		}
		if !found {
			return false
		}
	}
	return true
}
