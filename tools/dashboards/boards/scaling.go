package boards

import (
	"fmt"

	. "github.com/yubin-mail/yubin/tools/dashboards/grafana" //nolint:staticcheck // its words are the language of this package
)

// Scaling is about how many replicas each service needs, and what Kubernetes does about it.
func Scaling() Board {
	var connections []Query
	for _, gateway := range []string{"smtp", "pop3", "imap"} {
		connections = append(connections, Q(fmt.Sprintf(`ceil(sum(yubin_%[1]s_connections{@}) / (0.7 * avg(yubin_%[1]s_connections_max{@})))`, gateway), gateway))
	}
	const service = ` * on (job, instance) group_left (service) max by (job, instance, service) (yubin_build_info{@})`
	return Board{
		UID: "yubin-scaling", Title: "Yubin / Scaling", Jobs: "yubin_build_info",
		Description: "Which gateway to scale and to how many replicas; what the autoscaler of Kubernetes wants and may do. The panels on Kubernetes need kube-state-metrics and the kubelet's metrics.",
		Variables:   []Variable{Labels("namespace", "Namespace", "label_values(kube_horizontalpodautoscaler_info, namespace)")},
		Rows: []Row{
			Section("Which service has to be scaled?",
				Bars("How busy each service is", "The busiest replica. Gateways: add replicas from 70 % on. storage: database means a larger pool or database, processors mean replicas. directory: processors are logins.", "percentunit",
					Q(`max by (service, resource) (yubin:utilization:ratio{@})`, "{{service}}: {{resource}}")).From0(1).Limits(0.7, 0.9),
				Bars("Replicas for the connections", "As many as leave each gateway at 70 % of its connections, as it is now.", "short", connections...).From0(0),
				Bars("Replicas for the work", "As many as leave each service at 70 % of its processors, as it is now.", "short",
					Q(`ceil(sum by (service) (rate(process_cpu_seconds_total{@}[~])`+service+`) / (0.7 * avg by (service) (go_sched_gomaxprocs_threads{@}`+service+`)))`, "{{service}}")).From0(0),
				Graph("Replicas that answer", "Processes by service.", "short", Q(`count by (service) (yubin_build_info{@})`, "{{service}}")).From0(0),
				Graph("Ready replicas", "Those that may get traffic.", "short", Q(`sum by (service) (yubin_health_ready{@}`+service+`)`, "{{service}}")).From0(0),
				Graph("How even the load is", "Connections of the busiest gateway as a multiple of the average: far above 1, the load balancer does not spread, or old connections stay where they are (--<gateway>-drain-window).", "short",
					Q(`max(sum by (instance) (yubin_smtp_connections{@})) / avg(sum by (instance) (yubin_smtp_connections{@}))`, "smtp"),
					Q(`max(sum by (instance) (yubin_pop3_connections{@})) / avg(sum by (instance) (yubin_pop3_connections{@}))`, "pop3"),
					Q(`max(sum by (instance) (yubin_imap_connections{@})) / avg(sum by (instance) (yubin_imap_connections{@}))`, "imap")).From0(0),
			),
			Section("By replica",
				Graph("Connections", "Of each gateway, as a part of its limit.", "percentunit",
					Q(`yubin:utilization:ratio{@,resource="connections"}`, "{{service}} {{instance}}")).From0(1).Limits(0.7, 0.9),
				Graph("Processors", "As a part of those that the process may use (its limit in Kubernetes).", "percentunit",
					Q(`yubin:utilization:ratio{@,resource="cpu"}`, "{{service}} {{instance}}")).From0(1).Limits(0.7, 0.9),
				Graph("Connections to the database", "As a part of the pool.", "percentunit",
					Q(`yubin:utilization:ratio{@,resource="database"}`, "{{service}} {{instance}}")).From0(1).Limits(0.7, 0.9),
			),
			Section("Kubernetes",
				Graph("Autoscaler: replicas", "What there is and what is wanted. Wanted above what there is for long: no room on the nodes.", "short",
					Q(`sum by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_status_current_replicas{namespace=~"$namespace"})`, "{{horizontalpodautoscaler}}"),
					Q(`sum by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_status_desired_replicas{namespace=~"$namespace"})`, "{{horizontalpodautoscaler}} wanted")).From0(0),
				Graph("Autoscaler: room to the maximum", "Replicas that may still be added. 0: raise maxReplicas, or the load goes on to the replicas there are.", "short",
					Q(`sum by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_spec_max_replicas{namespace=~"$namespace"} - kube_horizontalpodautoscaler_status_desired_replicas{namespace=~"$namespace"})`, "{{horizontalpodautoscaler}}")).From0(0),
				Table("Autoscaler: conditions", "AbleToScale and ScalingActive should be there; ScalingLimited means that the maximum or minimum holds it back.", "short",
					Query{Expr: `max by (horizontalpodautoscaler, condition) (kube_horizontalpodautoscaler_status_condition{namespace=~"$namespace", status="true"} == 1)`, Legend: "{{horizontalpodautoscaler}} {{condition}}"}),
				Graph("Pods: processors", "Used as a part of what was requested: what the autoscaler goes by.", "percentunit",
					Q(`sum by (pod) (rate(container_cpu_usage_seconds_total{namespace=~"$namespace", container!=""}[$__rate_interval])) / sum by (pod) (kube_pod_container_resource_requests{namespace=~"$namespace", resource="cpu"})`, "{{pod}}")).From0(0),
				Graph("Pods: memory", "Used as a part of the limit: at 100 % the pod is killed.", "percentunit",
					Q(`sum by (pod) (container_memory_working_set_bytes{namespace=~"$namespace", container!=""}) / sum by (pod) (kube_pod_container_resource_limits{namespace=~"$namespace", resource="memory"})`, "{{pod}}")).From0(1).Limits(0.8, 0.95),
				Graph("Pods: restarts in an hour", "Of containers.", "short",
					Q(`sum by (pod) (increase(kube_pod_container_status_restarts_total{namespace=~"$namespace"}[1h]))`, "{{pod}}")).From0(0),
			),
		},
	}
}
