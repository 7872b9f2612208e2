package boards

import . "github.com/yubin-mail/yubin/tools/dashboards/grafana" //nolint:staticcheck // its words are the language of this package

// SMTP is about mail coming in: from other servers, from users, over LMTP.
func SMTP() Board {
	return Board{
		UID: "yubin-smtp", Title: "Yubin / SMTP ingress", Jobs: "yubin_smtp_connections_total",
		Description: "Mail from other servers, from users (submission) and over LMTP: connections, answers, outcomes, time.",
		Rows: []Row{
			Section("Outcome",
				Graph("Recipients by outcome", "Each recipient once, when its fate is decided: at RCPT or at the end of DATA.", "cps",
					Q(`sum by (outcome) (rate(yubin_smtp_recipients_total{@}[~]))`, "{{outcome}}")).Stacked().From0(0),
				Graph("Recipients by listener", "Where mail comes from: smtp is other servers, submission is users.", "cps",
					Q(`sum by (listener) (rate(yubin_smtp_recipients_total{@}[~]))`, "{{listener}}")).Stacked().From0(0),
				Graph("Refusals and deferrals by reason", "Answers of 4xx and 5xx by enhanced status code (RFC 3463): 5.1.1 unknown, 5.2.2 full, 4.3.0 a service is out of reach, 5.7.x policy.", "cps",
					Q(`sum by (code, enhanced) (rate(yubin_smtp_commands_total{@,code=~"[45].."}[~]))`, "{{code}} {{enhanced}}")).From0(0),
				quantiles("Time to commit", "From a message's last octet to storage's answer: what the server itself takes. The objective: 99 % within a second.", "yubin_smtp_commit_seconds"),
				quantiles("From the connection to the commit", "What a sender sees, with the time it takes itself; only of stored messages.", "yubin_smtp_end_to_end_seconds"),
				quantiles("Time of DATA", "From the first octet of a message to its answer. Much more than the commit: senders are slow, or messages large.", "yubin_smtp_delivery_seconds"),
			),
			Section("Connections",
				Graph("Open connections", "By listener. The limit is --smtp-max-connections, of each process.", "short",
					Q(`sum by (listener) (yubin_smtp_connections{@})`, "{{listener}}")).Stacked().From0(0),
				Graph("New connections", "By listener.", "cps", Q(`sum by (listener) (rate(yubin_smtp_connections_total{@}[~]))`, "{{listener}}")).From0(0),
				Graph("Connections refused", "total: the process is at its limit, add replicas. network: one network has too many. header, untrusted: PROXY protocol, look at the load balancer.", "cps",
					Q(`sum by (reason) (rate(yubin_smtp_connections_refused_total{@}[~]))`, "{{reason}}")).From0(0),
				Graph("Sessions by state", "Many in state greeted that never go on: scanners.", "short",
					Q(`sum by (state) (yubin_smtp_sessions{@})`, "{{state}}")).Stacked().From0(0),
				Graph("TLS versions", "Completed handshakes.", "cps", Q(`sum by (version) (rate(yubin_smtp_tls_handshakes_total{@}[~]))`, "TLS {{version}}")).From0(0),
				Graph("Logins of submission", "By result. refused: wrong passwords; error: directory is out of reach.", "cps",
					Q(`sum by (result) (rate(yubin_smtp_logins_total{@}[~]))`, "{{result}}")).From0(0),
			),
			Section("Load",
				Graph("Commands", "By verb.", "cps", Q(`sum by (command) (rate(yubin_smtp_commands_total{@}[~]))`, "{{command}}")).From0(0),
				Graph("Answers", "By reply code.", "cps", Q(`sum by (code) (rate(yubin_smtp_commands_total{@}[~]))`, "{{code}}")).From0(0),
				Graph("Octets", "On the wire, both ways, and of accepted messages.", "Bps",
					Q(`sum by (direction) (rate(yubin_smtp_network_bytes_total{@}[~]))`, "network {{direction}}"),
					Q(`sum(rate(yubin_smtp_received_bytes_total{@}[~]))`, "messages")).From0(0),
			),
			processes("smtp"),
		},
	}
}
