package server

import (
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/address"
	"github.com/yubin-mail/yubin/services/autoconfig/internal/answer"
)

// Kinds of requests, as metric labels.
const (
	kindMozilla      = "mozilla"
	kindAutodiscover = "autodiscover"
	kindApple        = "apple"
	kindOther        = "other"
)

// paths in lower case. Outlook spells its own in several ways, so all are taken in any.
var paths = map[string]string{
	"/mail/config-v1.1.xml":                        kindMozilla,
	"/.well-known/autoconfig/mail/config-v1.1.xml": kindMozilla,
	"/autodiscover/autodiscover.xml":               kindAutodiscover,
	"/email.mobileconfig":                          kindApple,
}

type handler struct {
	settings answer.Settings
	requests *prometheus.CounterVec
	deps     Deps
}

func newHandler(settings answer.Settings, requests *prometheus.CounterVec, deps Deps) http.Handler {
	return &handler{settings: settings, requests: requests, deps: deps}
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, ok := paths[strings.ToLower(r.URL.Path)]
	if !ok {
		kind = kindOther
	}
	status := &recorder{ResponseWriter: w, status: http.StatusOK}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch kind {
	case kindMozilla:
		h.mozilla(status, r)
	case kindAutodiscover:
		h.autodiscover(status, r)
	case kindApple:
		h.apple(status, r)
	default:
		http.NotFound(status, r)
	}
	h.requests.WithLabelValues(kind, strconv.Itoa(status.status)).Inc()
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// mozilla answers mail programs of the Mozilla kind. They ask the host autoconfig.<domain>, or the domain itself below /.well-known.
func (h *handler) mozilla(w http.ResponseWriter, r *http.Request) {
	if !reads(w, r) {
		return
	}
	domain := asked(r.Host)
	if a, err := address.Parse(r.URL.Query().Get("emailaddress")); err == nil {
		domain = a.Domain
	}
	text, err := answer.Mozilla(h.settings, domain)
	h.send(w, "text/xml; charset=utf-8", text, err)
}

// asked gives the domain that a host name was made of, empty if there is none.
func asked(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimPrefix(strings.ToLower(host), "autoconfig.")
	a, err := address.Parse("postmaster@" + host) // a domain is what an address may have
	if err != nil || strings.HasPrefix(a.Domain, "[") {
		return ""
	}
	return a.Domain
}

func (h *handler) autodiscover(w http.ResponseWriter, r *http.Request) {
	const contentType = "text/xml; charset=utf-8"
	if r.Method != http.MethodPost {
		if !reads(w, r) {
			return
		}
		// MS-OXDISCO section 3.1.5.4: who asks by plain HTTP wants to be sent to a server with a certificate.
		if h.settings.URL != "" && r.TLS == nil && r.Header.Get("X-Forwarded-Proto") != "https" {
			http.Redirect(w, r, strings.TrimSuffix(h.settings.URL, "/")+"/autodiscover/autodiscover.xml", http.StatusFound)
			return
		}
		text, err := answer.AutodiscoverError(answer.CodeInvalid, "Invalid Request", h.deps.Now())
		h.send(w, contentType, text, err)
		return
	}
	who, err := answer.ParseAutodiscover(http.MaxBytesReader(w, r.Body, answer.MaxRequest+1))
	var text []byte
	switch {
	case errors.Is(err, answer.ErrSchema):
		text, err = answer.AutodiscoverError(answer.CodeUnavailable, "Provider is not available", h.deps.Now())
	case err != nil:
		text, err = answer.AutodiscoverError(answer.CodeInvalid, "Invalid Request", h.deps.Now())
	default:
		text, err = answer.Autodiscover(h.settings, who)
	}
	h.send(w, contentType, text, err)
}

func (h *handler) apple(w http.ResponseWriter, r *http.Request) {
	if !reads(w, r) {
		return
	}
	who, err := address.Parse(r.URL.Query().Get("email"))
	if err != nil || who.Domain == "" {
		http.Error(w, "Give your address: /email.mobileconfig?email=alice@example.com", http.StatusBadRequest)
		return
	}
	text, err := answer.Apple(h.settings, who)
	if errors.Is(err, answer.ErrNothing) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Disposition", `attachment; filename="mail.mobileconfig"`)
	h.send(w, "application/x-apple-aspen-config; charset=utf-8", text, err)
}

// reads tells whether a request only reads, and refuses it if not.
func reads(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
	return false
}

// send answers with a document, or tells that it could not be made.
func (h *handler) send(w http.ResponseWriter, contentType string, text []byte, err error) {
	if err != nil {
		h.deps.Log.Error("could not write settings", "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(text) // #nosec G705 -- XML, written by an encoder; a client that has gone needs no answer
}
