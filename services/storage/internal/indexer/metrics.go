package indexer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

type metrics struct {
	messages *prometheus.CounterVec
	segments prometheus.Counter
	bytes    *prometheus.CounterVec
	failures prometheus.Counter
}

func newMetrics(x *Indexer) *metrics {
	reg := x.Registerer
	telemetry.Register(reg, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "yubin_storage_index_lag_seconds",
		Help: "How long the oldest message that is not in the text index has waited, as far as this replica knows; 0: all are. What waits in the queue for all replicas is known to each.",
	}, x.lag))
	telemetry.Register(reg, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "yubin_storage_index_pending_messages",
		Help: "About how many messages are yet to be added to the text index: those that this replica has noted, and all that are in the queue of all replicas.",
	}, x.pending))
	return &metrics{
		messages: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_index_messages_total",
			Help: "Messages whose text was indexed, by result: ok, partial (there is more text than is indexed), or unreadable (a search will try to read it).",
		}, []string{"result"})),
		segments: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yubin_storage_index_segments_total", Help: "Segments of the text index that were made.",
		})),
		bytes: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_index_bytes_total",
			Help: "Octets by kind: message (those that were indexed), text and segment (what the index has stored for them).",
		}, []string{"kind"})),
		failures: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yubin_storage_index_failures_total", Help: "Attempts to index a mailbox that failed; they are repeated.",
		})),
	}
}

func (x *Indexer) lag() float64 {
	now := x.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	oldest := now
	for _, notes := range []map[meta.MailboxKey]*note{x.noted, x.working} {
		for _, n := range notes {
			if n.since.Before(oldest) {
				oldest = n.since
			}
		}
	}
	if since := time.Unix(x.queue.Since, 0); x.queue.Since > 0 && since.Before(oldest) {
		oldest = since
	}
	return now.Sub(oldest).Seconds()
}

func (x *Indexer) pending() float64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	total := x.queue.Messages
	for _, notes := range []map[meta.MailboxKey]*note{x.noted, x.working} {
		for _, n := range notes {
			total += n.left
		}
	}
	return float64(total)
}
