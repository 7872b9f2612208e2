package secrets

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// server is as much of the API of Kubernetes as Secrets need: they have versions, and a patch of an old one is refused.
type server struct {
	mu       sync.Mutex
	data     map[string]map[string][]byte
	versions map[string]int
	conflict string // the name of a Secret that another changes before it is patched, once
	patches  int
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := path.Base(r.URL.Path)
	if r.Header.Get("Authorization") != "Bearer token" || path.Dir(r.URL.Path) != "/api/v1/namespaces/mail/secrets" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if s.data[name] == nil {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"message":"no such Secret"}`))
		return
	}
	var body secretJSON
	if r.Method == http.MethodPatch {
		if s.conflict == name {
			s.conflict = ""
			s.versions[name]++
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Metadata.ResourceVersion != strconv.Itoa(s.versions[name]) {
			w.WriteHeader(http.StatusConflict)
			return
		}
		for key, value := range body.Data {
			s.data[name][key] = value
		}
		s.versions[name]++
		s.patches++
	}
	body.Data = s.data[name]
	body.Metadata.ResourceVersion = strconv.Itoa(s.versions[name])
	_ = json.NewEncoder(w).Encode(body)
}

func TestSync(t *testing.T) {
	s := &server{data: map[string]map[string][]byte{"p-ca": {}, "p-smtp": {}, "p-admin": {}, "tls": {}}, versions: map[string]int{}, conflict: "p-ca"}
	api := httptest.NewServer(s)
	t.Cleanup(api.Close)
	client := New(api.URL, "mail", func() (string, error) { return "token", nil }, api.Client())
	wanted := Wanted{Prefix: "p-", Services: []string{"smtp", "admin"}, Public: "tls", PublicHosts: []string{"mail.example.com"}}

	changed, err := Sync(t.Context(), client, wanted)
	if err != nil {
		t.Fatal(err)
	}
	for name := range s.data {
		if !slices.Contains(changed, name) {
			t.Errorf("%s was not written", name)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.data["p-ca"]["ca.crt"])
	for _, service := range wanted.Services {
		block, _ := pem.Decode(s.data["p-"+service]["tls.crt"])
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots}); err != nil || cert.URIs[0].String() != "spiffe://yubin/"+service {
			t.Errorf("%s: %v, %v", service, cert.URIs, err)
		}
		if !bytes.Equal(s.data["p-"+service]["ca.crt"], s.data["p-ca"]["ca.crt"]) || s.data["p-"+service]["ca.key"] != nil {
			t.Errorf("%s has not the authority's certificate alone", service)
		}
	}

	patches := s.patches
	if changed, err := Sync(t.Context(), client, wanted); err != nil || len(changed) > 0 || s.patches != patches {
		t.Errorf("a second time changes %v (%v)", changed, err)
	}
	wanted.Services = append(wanted.Services, "imap")
	if _, err := Sync(t.Context(), client, wanted); err == nil {
		t.Error("a Secret that does not exist is no error")
	}
}
