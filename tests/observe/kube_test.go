package observe

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// kubernetes speaks as kube-state-metrics and the kubelet do, of an installation with three gateways that an autoscaler looks after: there is no
// cluster in this test. Names and labels are those of kube-state-metrics 2 and cAdvisor.
func kubernetes(tb testing.TB) *httptest.Server {
	tb.Helper()
	var scrapes atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := scrapes.Add(1)
		var b strings.Builder
		for i, service := range []string{"smtp", "pop3", "imap"} {
			autoscaler := fmt.Sprintf(`namespace="mail",horizontalpodautoscaler="yubin-%s"`, service)
			fmt.Fprintf(&b, "kube_horizontalpodautoscaler_info{%s,scaletargetref_kind=\"Deployment\"} 1\n", autoscaler)
			fmt.Fprintf(&b, "kube_horizontalpodautoscaler_status_current_replicas{%s} 2\n", autoscaler)
			fmt.Fprintf(&b, "kube_horizontalpodautoscaler_status_desired_replicas{%s} %d\n", autoscaler, 2+i)
			fmt.Fprintf(&b, "kube_horizontalpodautoscaler_spec_min_replicas{%s} 2\n", autoscaler)
			fmt.Fprintf(&b, "kube_horizontalpodautoscaler_spec_max_replicas{%s} 10\n", autoscaler)
			for _, condition := range []string{"AbleToScale", "ScalingActive", "ScalingLimited"} {
				for _, status := range []string{"true", "false", "unknown"} {
					held := 0
					if (condition == "ScalingLimited") == (status == "false") && status != "unknown" {
						held = 1
					}
					fmt.Fprintf(&b, "kube_horizontalpodautoscaler_status_condition{%s,condition=%q,status=%q} %d\n", autoscaler, condition, status, held)
				}
			}
			for replica := range 2 {
				pod := fmt.Sprintf(`namespace="mail",pod="yubin-%s-%d",container="yubin"`, service, replica)
				fmt.Fprintf(&b, "container_cpu_usage_seconds_total{%s} %f\n", pod, float64(n)*0.02*float64(1+i+replica))
				fmt.Fprintf(&b, "container_memory_working_set_bytes{%s} %d\n", pod, (40+10*i+replica)<<20)
				fmt.Fprintf(&b, "kube_pod_container_resource_requests{%s,resource=\"cpu\"} 0.2\n", pod)
				fmt.Fprintf(&b, "kube_pod_container_resource_limits{%s,resource=\"memory\"} %d\n", pod, 512<<20)
				fmt.Fprintf(&b, "kube_pod_container_status_restarts_total{%s} 0\n", pod)
			}
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write([]byte(b.String()))
	}))
	tb.Cleanup(server.Close)
	return server
}
