//go:build kube

package kube

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/tlsconf"
)

const metricsAPI = "v1beta2.custom.metrics.k8s.io"

// serveMetrics is a metrics adapter: it registers an API service of the cluster, and answers what the autoscaler asks by scraping the pods.
func (r *release) serveMetrics(t *testing.T, host string) {
	t.Helper()
	if out, err := r.run("kubectl", "get", "apiservice", metricsAPI); err == nil {
		t.Fatalf("the cluster has a metrics adapter already: %s", out)
	}
	name := "metrics." + r.namespace + ".svc"
	certFile, keyFile, err := tlsconf.SelfSigned(t.TempDir(), name)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatalf("listen where the cluster reaches this machine (-kube.host): %v", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(r.metricsHandler), ReadHeaderTimeout: time.Minute, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	port := listener.Addr().(*net.TCPAddr).Port
	objects := fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: metrics, namespace: %[1]s}
spec:
  ports: [{name: https, port: 443, targetPort: %[2]d}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: metrics-1, namespace: %[1]s, labels: {kubernetes.io/service-name: metrics}}
addressType: IPv4
ports: [{name: https, port: %[2]d}]
endpoints: [{addresses: [%[3]s]}]
---
apiVersion: v1
kind: Endpoints
metadata: {name: metrics, namespace: %[1]s}
subsets: [{addresses: [{ip: %[3]s}], ports: [{name: https, port: %[2]d}]}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: %[4]s}
spec:
  group: custom.metrics.k8s.io
  version: v1beta2
  groupPriorityMinimum: 100
  versionPriority: 100
  caBundle: %[5]s
  service: {name: metrics, namespace: %[1]s, port: 443}
`, r.namespace, port, host, metricsAPI, base64.StdEncoding.EncodeToString(pem))
	file := filepath.Join(t.TempDir(), "metrics.yaml")
	if err := os.WriteFile(file, []byte(objects), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.try("delete", "apiservice", metricsAPI, "--ignore-not-found") })
	r.kubectl("apply", "-f", file)
	r.kubectl("wait", "--for=condition=Available", "apiservice/"+metricsAPI, "--timeout="+patience.String())
}

// metricPath is what the autoscaler asks: a metric of all pods that a selector finds.
var metricPath = regexp.MustCompile(`^/apis/custom\.metrics\.k8s\.io/v1beta2/namespaces/([^/]+)/pods/\*/([a-z0-9_]+)$`)

func (r *release) metricsHandler(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	path := strings.TrimSuffix(req.URL.Path, "/")
	if path == "/apis/custom.metrics.k8s.io/v1beta2" {
		_, _ = w.Write([]byte(`{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"custom.metrics.k8s.io/v1beta2","resources":[
			{"name":"pods/yubin_imap_connections","singularName":"","namespaced":true,"kind":"MetricValueList","verbs":["get"]}]}`))
		return
	}
	match := metricPath.FindStringSubmatch(path)
	if match == nil || match[1] != r.namespace {
		http.NotFound(w, req)
		return
	}
	items := []any{}
	for _, pod := range strings.Fields(r.try("get", "pods", "-l", req.URL.Query().Get("labelSelector"), "--field-selector=status.phase=Running", "-o", "jsonpath={.items[*].metadata.name}")) {
		value, ok := r.metric(pod, match[2])
		if !ok {
			continue // it has just come or gone
		}
		items = append(items, map[string]any{
			"describedObject": map[string]string{"kind": "Pod", "namespace": r.namespace, "name": pod, "apiVersion": "/v1"},
			"metric":          map[string]string{"name": match[2]},
			"timestamp":       time.Now().UTC().Format(time.RFC3339),
			"value":           strconv.FormatFloat(value, 'f', 0, 64),
		})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "metadata": map[string]string{}, "items": items,
	})
}

// metric sums the series of a name that a pod exports.
func (r *release) metric(pod, name string) (sum float64, ok bool) {
	for line := range strings.Lines(r.try("get", "--raw", "/api/v1/namespaces/"+r.namespace+"/pods/"+pod+":8080/proxy/metrics")) {
		series, text, found := strings.Cut(strings.TrimSpace(line), " ")
		if before, _, _ := strings.Cut(series, "{"); !found || before != name {
			continue
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, false
		}
		sum, ok = sum+value, true
	}
	return sum, ok
}
