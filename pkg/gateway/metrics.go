package gateway

import (
	"crypto/tls"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// countHandshakes makes a tls.Config's VerifyConnection, which is called in every handshake, of one that counts them.
func countHandshakes(reg prometheus.Registerer, service string) func(tls.ConnectionState) error {
	handshakes := telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "yubin", Subsystem: service, Name: "tls_handshakes_total", Help: "TLS handshakes with clients, by version of TLS.",
	}, []string{"version"}))
	v12, v13 := handshakes.WithLabelValues("1.2"), handshakes.WithLabelValues("1.3")
	return func(state tls.ConnectionState) error {
		if state.Version >= tls.VersionTLS13 {
			v13.Inc()
		} else {
			v12.Inc()
		}
		return nil
	}
}
