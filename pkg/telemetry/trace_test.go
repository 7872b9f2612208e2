package telemetry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func tracer(ratio float64) (*Tracer, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	return NewTracer(sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(recorder), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))))), recorder
}

func TestSpansOfOneTrace(t *testing.T) {
	tr, recorder := tracer(1)
	ctx, root := tr.Begin(t.Context(), "smtp", "DATA")
	root.String("session", "x")
	inner, span := StartSpan(ctx, "sql", "deliver")
	// On the other side of a call:
	remote, served := tr.Serve(t.Context(), ReadParent(Parent(inner)), "service/Method")
	if !served.Traced() || Parent(remote) == "" {
		t.Error("the trace has ended on its way")
	}
	served.End(errors.New("no"))
	// Many wait for one:
	other, second := tr.Begin(t.Context(), "smtp", "DATA")
	shared, batch := StartSpan(Adopt(t.Context(), []context.Context{t.Context(), inner, other}, func(c context.Context) context.Context { return c }), "batch", "deliver")
	if !batch.Traced() || Parent(shared) == "" {
		t.Error("a batch has no trace")
	}
	for _, s := range []Span{batch, second, span, root} {
		s.End(nil)
	}
	ids, names := map[string]bool{}, map[string]sdktrace.ReadOnlySpan{}
	for _, s := range recorder.Ended() {
		names[s.Name()] = s
		ids[s.SpanContext().TraceID().String()] = true
	}
	if len(ids) != 2 || len(recorder.Ended()) != 5 {
		t.Errorf("%d traces, %d spans", len(ids), len(recorder.Ended()))
	}
	if names["service/Method"].Parent().SpanID() != names["sql deliver"].SpanContext().SpanID() || names["batch deliver"].Parent().SpanID() != names["sql deliver"].SpanContext().SpanID() {
		t.Error("spans are not below the one that asked")
	}
	if links := names["sql deliver"].Links(); len(links) != 1 || links[0].SpanContext.TraceID() == names["sql deliver"].SpanContext().TraceID() {
		t.Errorf("links are %v", links)
	}
}

// deep is a key of a context that has something else in it.
type deep struct{}

// TestNothingIsAllocatedWithoutATrace, nor for finding a metric.
func TestNothingIsAllocatedWithoutATrace(t *testing.T) {
	h := NewHistogramVec(prometheus.HistogramOpts{Name: "x_seconds", Help: "x"}, []string{"class"})
	memo := NewMemo(func(class string) prometheus.Observer { return h.WithLabelValues(class) })
	never, _ := tracer(0)
	var off *Tracer
	ctx := context.WithValue(t.Context(), deep{}, 1)
	memo.Get("deliver").Observe(1)
	if n := testing.AllocsPerRun(100, func() {
		ctx, root := off.Begin(ctx, "smtp", "DATA")
		inner, span := StartSpan(ctx, "sql", "deliver")
		span.String("key", "value")
		span.Int("key", 1)
		Observe(inner, memo.Get("deliver"), 1)
		if Parent(inner) != "" {
			t.Error("there is a parent")
		}
		span.End(io.EOF)
		root.End(nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if _, span := never.Serve(ctx, ReadParent("garbage"), "x"); span.Traced() {
		t.Error("garbage is a parent")
	}
	if ctx, _ := never.Begin(ctx, "smtp", "DATA"); Parent(ctx) != "" || Exemplar(ctx) != nil {
		t.Error("what is not sampled is told to others")
	}
}

func TestExemplars(t *testing.T) {
	tr, _ := tracer(1)
	h := NewHistogram(prometheus.HistogramOpts{Name: "x_seconds", Help: "x", Buckets: []float64{1}})
	ctx, span := tr.Begin(t.Context(), "imap", "FETCH")
	defer span.End(nil)
	Observe(ctx, h, .5)
	Observe(t.Context(), h, 2)
	var m dto.Metric
	if err := h.Write(&m); err != nil {
		t.Fatal(err)
	}
	if got := m.GetHistogram().GetBucket()[0].GetExemplar().GetLabel(); len(got) != 1 || got[0].GetName() != "trace_id" || len(got[0].GetValue()) != 32 {
		t.Errorf("exemplar %v", got)
	}
	if m.GetHistogram().GetSampleCount() != 2 || m.GetHistogram().Schema == nil {
		t.Errorf("histogram %v", m.GetHistogram())
	}
}

func TestCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	var written strings.Builder
	log := Counted(slog.New(slog.NewTextHandler(&written, &slog.HandlerOptions{Level: slog.LevelError})), reg).With("a", 1).WithGroup("g")
	log.Info("one")
	log.Warn("not logged at this level, and not counted")
	log.Error("one")
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, m := range families[0].GetMetric() {
		got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
	}
	if text := written.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "msg=one a=1") {
		t.Errorf("written is %s", text)
	}
	if got["error"] != 1 || got["warn"] != 0 || len(got) != 2 {
		t.Errorf("counted %v", got)
	}
}
