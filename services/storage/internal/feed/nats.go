package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

const (
	// queueSize is how many commits may wait to be sent, changesAtOnce how many changes go into one message (about 60 octets each; a
	// NATS message is 1 MiB at most).
	queueSize     = 10_000
	changesAtOnce = 5000
	// receiveMessages and receiveBytes bound what waits to be taken from the connection.
	receiveMessages, receiveBytes = 50_000, 64 << 20
	reconnectWait                 = 250 * time.Millisecond
	// pingEvery finds out within twice its time that the network has cut off a server.
	pingEvery = 5 * time.Second
	// settleTime is how long a new connection is not relied on: servers of a cluster tell each other of subscriptions in their own time.
	settleTime    = 10 * time.Second
	handshakeTime = 5 * time.Second
)

// NATS is the Bus of several replicas. Watchers in this process hear of its own changes at once, and only so; the others hear through a
// NATS subject. Nothing waits for NATS: what cannot be sent is left out, and the others are told to look into the database.
type NATS struct {
	*Memory
	conn    *nats.Conn
	subject string
	missed  func()
	log     *slog.Logger

	queue  chan []meta.Change
	resume chan struct{} // there is a connection again
	gap    atomic.Bool   // something was not sent
	since  atomic.Int64  // when the connection came up, in Unix nanoseconds; 0: there is none

	connected prometheus.Gauge
	changes   *prometheus.CounterVec
}

var _ Bus = (*NATS)(nil)

// Connect joins the feed of all replicas. It does not wait for a server, and goes on trying for ever. missed is called when
// changes of others may not have come; it must not block. Run must run, and closes the connection. reg may be nil.
func Connect(cfg Config, local *Memory, missed func(), log *slog.Logger, reg prometheus.Registerer) (*NATS, error) {
	n := &NATS{
		Memory: local, subject: cfg.subject, missed: missed, log: log,
		queue: make(chan []meta.Change, queueSize), resume: make(chan struct{}, 1),
		connected: telemetry.Register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "yubin_storage_feed_connected", Help: "1 while changes of other replicas come through NATS.",
		})),
		changes: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_feed_changes_total", Help: "Changes of mailboxes told to other replicas, heard from them, or dropped.",
		}, []string{"direction"})),
	}
	options, err := cfg.options()
	if err != nil {
		return nil, err
	}
	options = append(options,
		nats.Name("yubin storage"),
		nats.NoEcho(), // own changes are told at once
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.ReconnectBufSize(-1), // what waits for a server gets old: the others look into the database instead
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(1), nats.Timeout(handshakeTime),
		nats.ConnectHandler(n.up),
		nats.ReconnectHandler(n.up),
		nats.DisconnectErrHandler(n.down),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { n.trouble(err) }),
	)
	if n.conn, err = nats.Connect(cfg.urls, options...); err != nil {
		return nil, fmt.Errorf("set up nats: %w", err)
	}
	sub, err := n.conn.Subscribe(n.subject, n.receive)
	if err == nil {
		err = sub.SetPendingLimits(receiveMessages, receiveBytes)
	}
	if err != nil {
		n.conn.Close()
		return nil, fmt.Errorf("subscribe to changes: %w", err)
	}
	return n, nil
}

// Publish implements Bus.
func (n *NATS) Publish(changes []meta.Change) {
	n.Memory.Publish(changes)
	if len(changes) == 0 {
		return
	}
	select {
	case n.queue <- changes:
	default:
		n.drop(len(changes))
	}
}

// Reliable tells whether what others change comes by itself.
func (n *NATS) Reliable() bool {
	since := n.since.Load()
	return since != 0 && time.Since(time.Unix(0, since)) > settleTime
}

// Run sends until ctx ends.
func (n *NATS) Run(ctx context.Context) {
	defer n.conn.Close()
	for {
		select {
		case <-ctx.Done():
			n.rest()
			return
		case <-n.resume:
			if n.gap.Load() {
				n.send(nil)
			}
		case first := <-n.queue:
			n.send(first)
		}
	}
}

// rest sends what was published last.
func (n *NATS) rest() {
	for len(n.queue) > 0 {
		n.send(<-n.queue)
	}
	_ = n.conn.FlushTimeout(time.Second) // what does not reach the others so is found by their safety poll
}

// send makes one message of the changes and of what else waits: one notice a mailbox.
func (n *NATS) send(changes []meta.Change) {
	notice := &storagev1.FeedNotice{Missed: n.gap.Swap(false)}
	at := map[Key]*storagev1.WatchResponse_Change{}
	for {
		for _, c := range changes {
			k := Key{AccountID: c.AccountID, MailboxID: c.MailboxID}
			told := at[k]
			if told == nil {
				told = &storagev1.WatchResponse_Change{AccountId: c.AccountID, MailboxId: c.MailboxID}
				at[k] = told
				notice.Changes = append(notice.Changes, told)
			}
			told.Modseq, told.Deleted = max(told.GetModseq(), c.Modseq), told.GetDeleted() || c.Deleted
		}
		if len(notice.GetChanges()) >= changesAtOnce || len(n.queue) == 0 {
			break
		}
		changes = <-n.queue
	}
	data, err := proto.Marshal(notice)
	if err == nil {
		err = n.conn.Publish(n.subject, data)
	}
	if err != nil {
		n.drop(len(notice.GetChanges()))
		return
	}
	n.changes.WithLabelValues("sent").Add(float64(len(notice.GetChanges())))
}

func (n *NATS) drop(changes int) {
	n.gap.Store(true)
	n.changes.WithLabelValues("dropped").Add(float64(changes))
}

func (n *NATS) receive(m *nats.Msg) {
	var notice storagev1.FeedNotice
	if err := proto.Unmarshal(m.Data, &notice); err != nil {
		n.trouble(fmt.Errorf("read notice: %w", err))
		return
	}
	changes := make([]meta.Change, 0, len(notice.GetChanges()))
	for _, c := range notice.GetChanges() {
		changes = append(changes, meta.Change{AccountID: c.GetAccountId(), MailboxID: c.GetMailboxId(), Modseq: c.GetModseq(), Deleted: c.GetDeleted()})
	}
	n.changes.WithLabelValues("received").Add(float64(len(changes)))
	n.Memory.Publish(changes)
	if notice.GetMissed() {
		n.missed()
	}
}

// up is called when there is a connection. What was on its way in either direction when the last one broke is lost.
func (n *NATS) up(conn *nats.Conn) {
	n.log.Info("connected to nats", "server", conn.ConnectedAddr())
	// The subscription reached the server before the answer to this does: a look after it sees what no notice will tell.
	if err := conn.FlushTimeout(handshakeTime); err != nil {
		return // it is broken already
	}
	n.connected.Set(1)
	n.since.Store(time.Now().UnixNano())
	n.gap.Store(true)
	select {
	case n.resume <- struct{}{}:
	default:
	}
	n.missed()
}

func (n *NATS) down(conn *nats.Conn, err error) {
	n.connected.Set(0)
	n.since.Store(0)
	if conn.IsClosed() {
		return
	}
	n.log.Warn("no connection to nats, changes of other replicas are looked for in the database", "error", err)
	n.missed() // and the pauses get shorter
}

// trouble notes what goes wrong on a connection that goes on.
func (n *NATS) trouble(err error) {
	n.log.Warn("nats reports an error", "error", err)
	if errors.Is(err, nats.ErrSlowConsumer) { // messages were dropped
		n.missed()
	}
}
