package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// checkEvery is how often handshakes look whether the files changed.
const checkEvery = 10 * time.Second

// Options of a configuration that reloads.
type Options struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer // may be nil
	Now        func() time.Time      // nil is time.Now
}

// reloader holds what was read last from a set of files, and reads them again when one changed.
// What cannot be read does not replace what works.
type reloader[T any] struct {
	files   []string
	read    func() (T, error)
	log     *slog.Logger
	now     func() time.Time
	reloads *prometheus.CounterVec

	mu      sync.Mutex
	current T
	stamps  []stamp
	checked time.Time
}

// stamp tells whether a file is still the one that was read. An atomically replaced file has
// another inode even within the resolution of the clock; os.SameFile compares that.
type stamp struct {
	info os.FileInfo
}

func (s stamp) same(info os.FileInfo) bool {
	return s.info.ModTime().Equal(info.ModTime()) && s.info.Size() == info.Size() && os.SameFile(s.info, info)
}

func newReloader[T any](opts Options, read func() (T, error), files ...string) (*reloader[T], error) {
	r := &reloader[T]{files: files, read: read, log: opts.Log, now: opts.Now}
	if r.now == nil {
		r.now = time.Now
	}
	r.reloads = telemetry.Register(opts.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "yubin_tls_reloads_total", Help: "Changed certificate files read again, by result.",
	}, []string{"result"}))
	telemetry.Zero(r.reloads, "ok", "error")
	stamps, err := r.stat()
	if err != nil {
		return nil, err
	}
	if r.current, err = read(); err != nil {
		return nil, err
	}
	r.stamps, r.checked = stamps, r.now()
	return r, nil
}

func (r *reloader[T]) stat() ([]stamp, error) {
	stamps := make([]stamp, len(r.files))
	for i, file := range r.files {
		info, err := os.Stat(file)
		if err != nil {
			return nil, fmt.Errorf("stat certificate file: %w", err)
		}
		stamps[i] = stamp{info}
	}
	return stamps, nil
}

// get gives the current value, after a look at the files if the last is more than checkEvery ago.
func (r *reloader[T]) get() T {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); now.Sub(r.checked) >= checkEvery {
		r.checked = now
		r.refresh()
	}
	return r.current
}

// refresh is called with the lock held.
func (r *reloader[T]) refresh() {
	stamps, err := r.stat()
	if err == nil {
		if r.unchanged(stamps) {
			return
		}
		var next T
		if next, err = r.read(); err == nil {
			r.current, r.stamps = next, stamps
			r.reloads.WithLabelValues("ok").Inc()
			r.log.Info("certificate reloaded", "files", r.files)
			return
		}
	}
	r.reloads.WithLabelValues("error").Inc()
	r.log.Error("certificate not reloaded, the old one stays in use", "files", r.files, "error", err)
}

func (r *reloader[T]) unchanged(stamps []stamp) bool {
	for i, s := range stamps {
		if !r.stamps[i].same(s.info) {
			return false
		}
	}
	return true
}

func readPair(certFile, keyFile string) (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s: %w", certFile, err)
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return nil, fmt.Errorf("parse certificate %s: %w", certFile, err)
		}
	}
	return &cert, nil
}

var errNoCertificate = errors.New("no certificate in the file")

func readPool(caFile string) (*x509.CertPool, error) {
	data, err := os.ReadFile(caFile) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("read CA %s: %w", caFile, errNoCertificate)
	}
	return pool, nil
}
