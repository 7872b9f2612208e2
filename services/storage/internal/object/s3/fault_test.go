package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/yubin-mail/yubin/pkg/testserver/minio"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// front stands before a server and does harm.
type front struct {
	*httptest.Server
	forward *httputil.ReverseProxy

	mu sync.Mutex
	// harm is asked for each request; nil answers are passed on.
	harm func(r *http.Request) http.HandlerFunc
	seen []string
}

func newFront(t *testing.T, server *minio.Server) *front {
	t.Helper()
	target, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{forward: &httputil.ReverseProxy{
		// The signature covers the host that the client named.
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = target.Scheme, target.Host, r.In.Host
		},
		ErrorLog: nil,
	}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.seen = append(f.seen, r.Method+" "+r.URL.Path)
	var harm http.HandlerFunc
	if f.harm != nil {
		harm = f.harm(r)
	}
	f.mu.Unlock()
	if harm != nil {
		harm(w, r)
		return
	}
	f.forward.ServeHTTP(w, r)
}

// do harms from now on, and forgets what was seen.
func (f *front) do(harm func(r *http.Request) http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.harm, f.seen = harm, nil
}

// count tells how many requests came since do.
func (f *front) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.seen)
}

// first does harm to the first n requests that match.
func first(n int, match func(r *http.Request) bool, harm http.HandlerFunc) func(*http.Request) http.HandlerFunc {
	return func(r *http.Request) http.HandlerFunc {
		if n > 0 && match(r) {
			n--
			return harm
		}
		return nil
	}
}

func method(name string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == name }
}

// lose lets the server do what it is asked for, and drops its answer.
func (f *front) lose(_ http.ResponseWriter, r *http.Request) {
	f.forward.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// cut gives half of the content and then breaks, or hangs until the client has enough.
func (f *front) cut(hang bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		whole := httptest.NewRecorder()
		f.forward.ServeHTTP(whole, r)
		for name, values := range whole.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(whole.Code)
		_, _ = w.Write(whole.Body.Bytes()[:whole.Body.Len()/2])
		_ = http.NewResponseController(w).Flush()
		if hang {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}
}

// answer gives an error as S3 does.
func answer(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
		}
	}
}

func every(*http.Request) bool { return true }

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func read(ctx context.Context, s *Store, key string, off, n int64) ([]byte, error) {
	r, err := s.GetRange(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(r)
	return content, errors.Join(err, r.Close())
}

func TestFaults(t *testing.T) {
	server := minio.Start(t)
	f := newFront(t, server)
	small, large := noise(100_000), noise(12<<20)

	faulty := func(t *testing.T, args ...string) *Store {
		f.do(nil)
		return open(t, f.URL, server.Bucket(t), server.AccessKey, server.SecretKey, args...)
	}
	putBoth := func(t *testing.T, s *Store) {
		t.Helper()
		if err := errors.Join(
			s.Put(t.Context(), "packs/small", bytes.NewReader(small), int64(len(small))),
			s.Put(t.Context(), "packs/large", bytes.NewReader(large), object.SizeUnknown),
		); err != nil {
			t.Fatal(err)
		}
	}
	check := func(t *testing.T, s *Store) {
		t.Helper()
		for key, want := range map[string][]byte{"packs/small": small, "packs/large": large} {
			if got, err := read(t.Context(), s, key, 0, -1); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s reads %d octets, %v", key, len(got), err)
			}
			if got, err := read(t.Context(), s, key, 1000, 50_000); err != nil || !bytes.Equal(got, want[1000:51_000]) {
				t.Errorf("a range of %s reads %d octets, %v", key, len(got), err)
			}
		}
		n := 0
		for _, err := range s.List(t.Context(), "", "") {
			if err != nil {
				t.Error(err)
			}
			n++
		}
		if n != 2 {
			t.Errorf("%d objects, want 2", n)
		}
	}

	t.Run("answers of writes are lost", func(t *testing.T) {
		s := faulty(t)
		for name, match := range map[string]func(*http.Request) bool{
			"put":      method(http.MethodPut),
			"start":    func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploads") },
			"complete": func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") },
		} {
			f.do(first(2, match, f.lose))
			putBoth(t, s)
			f.do(nil)
			check(t, s)
			if t.Failed() {
				t.Fatalf("after lost answers to %s", name)
			}
		}
		if got := testutil.ToFloat64(s.metrics.retries.WithLabelValues("put")); got == 0 {
			t.Error("no retry was counted")
		}
	})

	t.Run("slow down", func(t *testing.T) {
		s := faulty(t)
		f.do(first(3, every, answer(http.StatusServiceUnavailable, "SlowDown")))
		putBoth(t, s)
		f.do(first(3, every, answer(http.StatusServiceUnavailable, "SlowDown")))
		check(t, s)
	})

	t.Run("downloads break off", func(t *testing.T) {
		s := faulty(t)
		putBoth(t, s)
		f.do(first(2, method(http.MethodGet), f.cut(false)))
		check(t, s)
		if got := testutil.ToFloat64(s.metrics.retries.WithLabelValues("get")); got != 2 {
			t.Errorf("%v connections were made anew, want 2", got)
		}
	})

	t.Run("downloads hang", func(t *testing.T) {
		s := faulty(t)
		putBoth(t, s)
		s.cfg.timeout = 300 * time.Millisecond
		f.do(first(2, method(http.MethodGet), f.cut(true)))
		check(t, s)
	})

	t.Run("refused", func(t *testing.T) {
		for _, c := range []struct {
			status int
			code   string
			want   error
		}{
			{http.StatusForbidden, "AccessDenied", nil},
			{http.StatusNotFound, "NoSuchBucket", nil},
			{http.StatusNotFound, "NoSuchKey", object.ErrNotFound},
			{http.StatusInsufficientStorage, "InsufficientStorage", object.ErrFull},
			{http.StatusInsufficientStorage, "XMinioStorageFull", object.ErrFull},
			{http.StatusForbidden, "QuotaExceeded", object.ErrFull},
		} {
			s := faulty(t)
			f.do(first(1, every, answer(c.status, c.code)))
			err := s.Put(t.Context(), "packs/small", bytes.NewReader(small), int64(len(small)))
			if err == nil || c.want != nil && !errors.Is(err, c.want) || errors.Is(err, object.ErrNotFound) != errors.Is(c.want, object.ErrNotFound) {
				t.Errorf("%s: %v", c.code, err)
			}
			if n := f.count(); n != 1 {
				t.Errorf("%s: asked %d times", c.code, n)
			}
		}
	})

	t.Run("a range is not given", func(t *testing.T) {
		s := faulty(t)
		putBoth(t, s)
		f.do(first(1, method(http.MethodGet), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"1"`)
			w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
			_, _ = w.Write(small) // all of it, as one who knows no ranges
		}))
		if got, err := read(t.Context(), s, "packs/small", 1000, 10); err == nil {
			t.Errorf("read %d octets of somewhere else", len(got))
		}
	})

	t.Run("a failed upload leaves nothing", func(t *testing.T) {
		s := faulty(t)
		f.do(first(100, func(r *http.Request) bool { return r.URL.Query().Get("partNumber") == "2" }, answer(http.StatusForbidden, "AccessDenied")))
		if err := s.Put(t.Context(), "packs/large", bytes.NewReader(large), object.SizeUnknown); err == nil {
			t.Error("stored without its second part")
		}
		f.mu.Lock()
		last := f.seen[len(f.seen)-1]
		f.mu.Unlock()
		if !strings.HasPrefix(last, "DELETE ") {
			t.Errorf("the last request was %s", last)
		}
	})
}

func TestDeadServiceFailsFastAndComesBack(t *testing.T) {
	server := minio.Start(t)
	f := newFront(t, server)
	s := open(t, f.URL, server.Bucket(t), server.AccessKey, server.SecretKey)
	put := func() error { return s.Put(t.Context(), "packs/a", strings.NewReader("a"), 1) }
	f.do(first(1<<30, every, answer(http.StatusBadGateway, "")))
	for range tripAfter {
		if err := put(); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("put into a dead service: %v", err)
		}
	}
	// Now and then one request looks whether the service is back; of these hundred hardly any may.
	f.do(first(1<<30, every, answer(http.StatusBadGateway, "")))
	for range 100 {
		if err := put(); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("put into a dead service: %v", err)
		}
	}
	if n := f.count(); n > 50 {
		t.Errorf("%d of 100 were tried", n)
	}
	// Reading is another matter.
	if _, err := s.Stat(t.Context(), "packs/a"); !errors.Is(err, ErrUnavailable) || testutil.ToFloat64(s.metrics.state.WithLabelValues("read")) != 0 {
		t.Errorf("stat: %v", err)
	}
	f.do(nil)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err := put(); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("the service is back, and not seen: %v", err)
		}
	}
	if got := testutil.ToFloat64(s.metrics.state.WithLabelValues("write")); got != 0 {
		t.Errorf("state is %v", got)
	}
}
