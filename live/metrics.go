package live

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tutti/live/endpoint"
	"tutti/node"
)

// metrics are what the node counts for operators. Names begin with tutti_.
type metrics struct {
	registry *prometheus.Registry
	drops    *prometheus.CounterVec
	events   *prometheus.CounterVec
	sigs     prometheus.Counter
	outcomes *prometheus.CounterVec
	slots    *prometheus.GaugeVec
	lag      prometheus.Gauge
	pool     prometheus.Gauge
	execute  prometheus.Histogram
	commit   prometheus.Histogram
	late     prometheus.Histogram
}

func newMetrics(l *Live) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		drops: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tutti_dropped_total", Help: "Traffic that was thrown away or refused, by reason.",
		}, []string{"what", "reason"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tutti_events_total", Help: "What happened to the node, by kind.",
		}, []string{"kind"}),
		sigs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tutti_signatures_verified_total", Help: "Signatures of transactions and votes in blocks.",
		}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tutti_transactions_total", Help: "Executed occurrences of transactions, by outcome.",
		}, []string{"outcome"}),
		slots: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tutti_slot", Help: "Newest slot at each level.",
		}, []string{"level"}),
		lag:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "tutti_lag_blocks", Help: "Blocks that most stake has not executed yet."}),
		pool: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tutti_pool_transactions", Help: "Transactions in the pool."}),
		execute: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tutti_execute_seconds", Help: "Time that a block's execution took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 12),
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tutti_store_commit_seconds", Help: "Time that a commit to the ledger took, until it was on disk. What depends on it waits.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 12),
		}),
		late: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tutti_late_seconds", Help: "How late the core was with what was due, in each of its rounds.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 12),
		}),
	}
	m.registry.MustRegister(m.drops, m.events, m.sigs, m.outcomes, m.slots, m.lag, m.pool, m.execute, m.commit, m.late)
	counter := func(name, help string, labels prometheus.Labels, value func() uint64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(
			prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 { return float64(value()) }))
	}
	gauge := func(name, help string, value func() int64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) }))
	}
	net := l.endpoint.Stats()
	for _, reason := range endpoint.Reasons() {
		counter("tutti_quic_refused_total", "Frames, streams and connections dropped or refused by the endpoint.",
			prometheus.Labels{"reason": reason.String()}, func() uint64 { return net.Refused(reason) })
	}
	counter("tutti_quic_frames_sent_total", "Frames sent to peers.", nil, net.FramesSent.Load)
	counter("tutti_quic_bytes_sent_total", "Bytes of frames sent to peers.", nil, net.BytesSent.Load)
	counter("tutti_quic_batches_sent_total", "Streams of frames sent to peers.", nil, net.BatchesSent.Load)
	counter("tutti_quic_frames_received_total", "Frames received from peers.", nil, net.FramesReceived.Load)
	counter("tutti_quic_bytes_received_total", "Bytes of frames received from peers.", nil, net.BytesReceived.Load)
	counter("tutti_quic_transactions_total", "Transactions received from clients.", nil, net.Transactions.Load)
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tutti_quic_waiting_seconds", Help: "For how long shreds wait to be sent: the median of the connected peers with stake.",
	}, func() float64 { return l.endpoint.Waiting().Seconds() }))
	gauge("tutti_quic_connections", "Open connections.", net.Connections.Load)
	gauge("tutti_quic_peers", "Peers known to the endpoint.", net.Peers.Load)
	disk := l.store.Stats()
	counter("tutti_store_commits_total", "Commits to the ledger.", nil, disk.Commits.Load)
	counter("tutti_store_records_total", "Records in them.", nil, disk.Records.Load)
	counter("tutti_store_bytes_total", "Bytes in them.", nil, disk.Bytes.Load)
	counter("tutti_store_corrupt_total", "Corrupt values found by reads.", nil, disk.CorruptRead.Load)
	counter("tutti_store_pruned_total", "Entries pruned.", nil, disk.Pruned.Load)
	gauge("tutti_store_shreds", "Shreds stored, code shreds counted.", disk.Shreds.Load)
	gauge("tutti_store_backlog_bytes", "Bytes that wait to be written.", func() int64 { return int64(l.store.Backlog()) })
	counter("tutti_core_busy_total", "Rounds in which the core took nothing from peers.", nil, l.core.busyCount.Load)
	gauge("tutti_inbox_messages", "Messages that wait for the core.", func() int64 { return int64(l.core.peers.len()) })
	gauge("tutti_jobs", "Jobs that wait for a worker.", func() int64 { return int64(l.core.jobs.len()) })
	return m
}

// dropped counts traffic that never reached the node.
func (m *metrics) dropped(what, reason string) { m.drops.WithLabelValues(what, reason).Inc() }

// executed notes how long a block's execution took.
func (m *metrics) executed(d time.Duration) { m.execute.Observe(d.Seconds()) }

// report counts what the node tells.
func (m *metrics) report(of any) {
	event := func(kind string) { m.events.WithLabelValues(kind).Inc() }
	switch r := of.(type) {
	case node.Accepted:
		event("transaction accepted")
	case node.Refused:
		event("transaction refused")
	case node.Dropped:
		m.dropped(r.What, r.Reason)
	case node.ShredSeen:
		event("shred")
		if r.Repaired {
			event("shred repaired")
		}
	case node.SetCompleted:
		event("set")
		if r.Recovered > 0 {
			event("set recovered")
		}
	case node.UserBlockHeld:
		event("userblock")
	case node.UserBlockVerified:
		m.sigs.Add(float64(r.Verified))
	case node.UserBlockRejected:
		event("userblock rejected")
	case node.UserBlockRecorded:
		event("userblock recorded")
	case node.UserBlockMissed:
		event("own userblock missed")
	case node.BlockHeld:
		event("block")
		m.sigs.Add(float64(r.Verified))
	case node.StoodStill:
		event("stood still")
	case node.BlockRejected:
		event("block rejected")
	case node.Voted:
		event("own vote")
	case node.VoteSeen:
		event("vote")
	case node.Confirmed:
		event("block confirmed")
	case node.BankComputed:
		event("block executed")
		for i := range r.Result.Receipts {
			m.outcomes.WithLabelValues(r.Result.Receipts[i].Outcome.String()).Inc()
		}
	case node.Agreed:
		m.slots.WithLabelValues("agreed 1/3").Set(float64(r.Third))
		m.slots.WithLabelValues("agreed 2/3").Set(float64(r.TwoThirds))
	case node.Mismatched:
		event("bank hash mismatch")
	case node.WentBack:
		event("executed again")
	case node.HealthChanged:
		event("became " + r.Health.String())
	case node.Rooted:
		event("block rooted")
	case node.Equivocated:
		event("equivocation")
	case node.Head:
		m.slots.WithLabelValues("head").Set(float64(r.Slot))
		m.slots.WithLabelValues("confirmed").Set(float64(r.Confirmed))
		m.slots.WithLabelValues("executed").Set(float64(r.Executed))
		m.slots.WithLabelValues("rooted").Set(float64(r.Root))
		m.slots.WithLabelValues("finalized").Set(float64(r.Finalized))
		m.lag.Set(float64(r.Lag))
		m.pool.Set(float64(r.Pool))
	}
}
