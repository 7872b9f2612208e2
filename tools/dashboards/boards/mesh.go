package boards

import . "github.com/yubin-mail/yubin/tools/dashboards/grafana" //nolint:staticcheck // its words are the language of this package

// Streams that stay open as long as the client likes say nothing by their time.
const calls = `grpc_type!="bidi_stream", grpc_method!="Watch"`

// Mesh is about the calls between the services.
func Mesh() Board {
	const failed = `grpc_code=~"Unknown|DeadlineExceeded|Internal|Unavailable|DataLoss|Unimplemented"`
	return Board{
		UID: "yubin-grpc", Title: "Yubin / gRPC mesh", Jobs: "grpc_server_started_total",
		Description: "Calls between the services: how many, how long, what fails. The all-in-one has only the served side.",
		Rows: []Row{
			Section("Served",
				Graph("Calls by service", "As the callee counts them.", "reqps", Q(`sum by (grpc_service) (rate(grpc_server_handled_total{@}[~]))`, "{{grpc_service}}")).From0(0),
				Graph("Calls that fail", "By service and code, only those that are the service's fault. Others, as NotFound or ResourceExhausted, are answers.", "reqps",
					Q(`sum by (grpc_service, grpc_code) (rate(grpc_server_handled_total{@,`+failed+`}[~]))`, "{{grpc_service}} {{grpc_code}}")).From0(0),
				Graph("Time of calls, 99 %", "By service, without streams that stay open.", "s",
					Q(quantile("0.99", "grpc_server_handling_seconds", "grpc_service", calls), "{{grpc_service}}")).From0(0).Exemplars(),
				Graph("The most frequent methods", "Ten of them.", "reqps", Q(`topk(10, sum by (grpc_method) (rate(grpc_server_handled_total{@}[~])))`, "{{grpc_method}}")).From0(0),
				Graph("The slowest methods, 99 %", "Ten of them.", "s", Q("topk(10, "+quantile("0.99", "grpc_server_handling_seconds", "grpc_method", calls)+")", "{{grpc_method}}")).From0(0).Exemplars(),
				Graph("Answers by code", "All of them.", "reqps", Q(`sum by (grpc_code) (rate(grpc_server_handled_total{@}[~]))`, "{{grpc_code}}")).From0(0),
			),
			Section("Called",
				Graph("Calls by caller", "Which process calls what: job and service.", "reqps",
					Q(`sum by (job, grpc_service) (rate(grpc_client_handled_total{@}[~]))`, "{{job}} to {{grpc_service}}")).From0(0),
				Graph("Calls that fail, as the caller sees it", "Much more than the served side counts: the network between, or a process that is gone.", "reqps",
					Q(`sum by (grpc_service, grpc_code) (rate(grpc_client_handled_total{@,`+failed+`}[~]))`, "{{grpc_service}} {{grpc_code}}")).From0(0),
				Graph("Time of calls, 99 %, as the caller sees it", "With the network and the wait.", "s",
					Q(quantile("0.99", "grpc_client_handling_seconds", "grpc_service", calls), "{{grpc_service}}")).From0(0).Exemplars(),
				Graph("Messages in streams", "Sent and received by those that serve.", "cps",
					Q(`sum(rate(grpc_server_msg_sent_total{@}[~]))`, "sent"), Q(`sum(rate(grpc_server_msg_received_total{@}[~]))`, "received")).From0(0),
				Graph("Calls in progress", "Started and not handled yet; streams that stay open are among them.", "short",
					Q(`sum by (grpc_service) (grpc_server_started_total{@}) - sum by (grpc_service) (grpc_server_handled_total{@})`, "{{grpc_service}}")).From0(0),
				Graph("Second attempts", "Repeatable calls that were made again because the first was slow; refused ones were too many (one in ten at most).", "cps",
					Q(`sum by (outcome) (rate(yubin_rpc_hedges_total{@}[~]))`, "{{outcome}}")).From0(0),
			),
			Section("Balance",
				Graph("Calls by replica", "As even as the replicas are: a caller takes the one with the fewest open calls.", "reqps",
					Q(`sum by (job, instance) (rate(grpc_server_handled_total{@}[~]))`, "{{job}} {{instance}}")).From0(0).Wide(12),
				Graph("CPU by process", "Processors in use.", "short", Q(`rate(process_cpu_seconds_total{@}[~])`, "{{job}} {{instance}}")).From0(0).Wide(12),
			),
		},
	}
}
