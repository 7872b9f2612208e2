package boards

import . "github.com/yubin-mail/yubin/tools/dashboards/grafana" //nolint:staticcheck // its words are the language of this package

// Overview is the one page that tells whether mail flows, what is full, what will be full, and which service to scale.
func Overview() Board {
	return Board{
		UID: "yubin-overview", Title: "Yubin / Overview and SLO", Jobs: "yubin_build_info",
		Description: "Does mail flow, what is full, what will be full, and which service has to be scaled?",
		Rows:        []Row{flow(), objectives(), full(), busy(), wrong()},
	}
}

func flow() Row {
	return Section("Does mail flow?",
		Stat("Delivered", "Recipients whose mail was stored, per second. 0 where there should be mail: look at the deferred ones and at the SMTP dashboard.", "cps",
			Q(`sum(rate(yubin_smtp_recipients_total{@,outcome="stored"}[~]))`, "delivered")),
		Stat("Deferred", "Part of the recipients whose sender was asked to come again later (4xx). Such mail is late, not lost. More than a trace of it means that a service is out of reach.", "percentunit",
			Q(`sum(rate(yubin_smtp_recipients_total{@,outcome="deferred"}[~])) / sum(rate(yubin_smtp_recipients_total{@}[~]))`, "deferred")).Limits(0.001, 0.01),
		Stat("Over quota", "Part of the recipients that were refused because the mailbox is full. Their senders were told.", "percentunit",
			Q(`sum(rate(yubin_smtp_recipients_total{@,outcome="over_quota"}[~])) / sum(rate(yubin_smtp_recipients_total{@}[~]))`, "over quota")).Limits(0.02, 0.1),
		Stat("Delivery time, 99 %", "From a message's last octet to the 250 that promises it is durable; the slowest of a hundred.", "s",
			Q(quantile("0.99", "yubin_smtp_commit_seconds", ""), "99 %")).Limits(0.5, 1),
		Stat("Login to list, 99 %", "Time that the server takes from a login to the first list of messages, IMAP; the slowest of a hundred.", "s",
			Q(quantile("0.99", "yubin_imap_login_to_list_seconds", ""), "99 %")).Limits(0.5, 1),
		Stat("Connected clients", "Open connections of all gateways.", "short",
			Q(`sum({@,__name__=~"yubin_(smtp|pop3|imap)_connections"})`, "connections")),
		Graph("Recipients by outcome", "Stored: durable. Over quota, unknown, refused: the sender was told, once and for all. Deferred: the sender comes again.", "cps",
			Q(`sum by (outcome) (rate(yubin_smtp_recipients_total{@}[~]))`, "{{outcome}}")).Stacked().From0(0).Wide(12),
		Graph("Commands of readers", "Commands of POP3 and IMAP by result. What is no, bad or err is often a client's own fault; a rise of it is not.", "cps",
			Q(`sum by (result) (rate(yubin_imap_commands_total{@}[~]))`, "IMAP {{result}}"),
			Q(`sum by (result) (rate(yubin_pop3_commands_total{@}[~]))`, "POP3 {{result}}")).From0(0).Wide(12),
	)
}

func objectives() Row {
	return Section("Are the objectives kept?",
		Stat("Taken at once, 3 days", "Recipients that were not deferred. The objective is 99.9 % over 30 days.", "percentunit",
			Q(`1 - max(yubin:delivery_errors:ratio_rate3d)`, "taken at once")).Limits(0.9995, 0.999).Decimals(3).Wide(4).High(8),
		Stat("Within a second, 3 days", "Messages that were durable within a second of their last octet. The objective is 99 %.", "percentunit",
			Q(`1 - max(yubin:delivery_slow:ratio_rate3d)`, "within a second")).Limits(0.995, 0.99).Decimals(2).Wide(4).High(8),
		Stat("Login to list, 3 days", "Sessions in which the server took at most a second from the login to the first list. The objective is 99 %.", "percentunit",
			Q(`1 - max by (protocol) (yubin:login_to_list_slow:ratio_rate3d)`, "{{protocol}}")).Limits(0.995, 0.99).Decimals(2).Wide(4).High(8),
		Graph("Burn rate of the error budgets, 1 hour", "1: the budget of 30 days lasts 30 days. 14.4: it is gone in two days, which wakes somebody.", "short",
			Q(`max(yubin:delivery_errors:ratio_rate1h) / 0.001`, "taken at once"),
			Q(`max(yubin:delivery_slow:ratio_rate1h) / 0.01`, "within a second"),
			Q(`max by (protocol) (yubin:login_to_list_slow:ratio_rate1h) / 0.01`, "login to list, {{protocol}}")).From0(0).Limits(1, 14.4).Wide(12),
	)
}

func full() Row {
	return Section("What is full, what will be full?",
		Stat("Granted capacity in use", "Usage of the accounts with a limit, as a part of the sum of their limits.", "percentunit",
			Q(`max(yubin_quota_limited_used_bytes{@}) / max(yubin_quota_limit_bytes{@})`, "in use")).Limits(0.7, 0.9),
		Stat("Until it is full", "When usage reaches the sum of the limits, if it grows on as it did lately. Ten years: not to be seen.", "dtdurations",
			Q(`clamp_max(min(yubin_quota_time_to_full_seconds{@}), 10 * 365 * 86400)`, "until full")).Limits(90*86400, 30*86400).OrElse("too early to tell"),
		Stat("Accounts from 90 % on", "Mailboxes that are nearly full: their owners have had a warning by mail.", "short",
			Q(`max(yubin_quota_accounts_fill_ratio_count{@}) - max(yubin_quota_accounts_fill_ratio_bucket{@,le="0.9"})`, "accounts")),
		Stat("Free on the disk", "Least free part of a disk on which storage keeps data; without a disk of its own (S3, PostgreSQL) see the disk caches' nodes. Below --storage-min-free new mail is deferred.", "percentunit",
			Q(`min(yubin_storage_free_bytes{@} / yubin_storage_disk_bytes{@})`, "free")).Limits(0.2, 0.1),
		Stat("Bodies stored", "Octets of bodies in the object store, compressed; dead ones are given back by compaction.", "decbytes",
			Q(`max by (state) (yubin_storage_body_bytes{@})`, "{{state}}")).Wide(8),
		Graph("Usage and limits", "What all mailboxes hold, and what they were granted. More was granted than there is room? Then watch the line of what is used.", "decbytes",
			Q(`max(yubin_quota_used_bytes{@})`, "used"), Q(`max(yubin_quota_limit_bytes{@})`, "sum of limits")).From0(0).Wide(12),
		fillLevels().Wide(12),
	)
}

func busy() Row {
	return Section("Which service has to be scaled?",
		Bars("How busy each service is", "The busiest replica: connections as a part of their limit, processors as a part of those that it may use, connections to the database as a part of the pool. From 70 % on add replicas of a gateway; for storage, quota and directory see the dashboard Scaling.", "percentunit",
			Q(`max by (service, resource) (yubin:utilization:ratio{@})`, "{{service}}: {{resource}}")).From0(1).Limits(0.7, 0.9).Wide(8),
		Graph("How busy, over time", "The same, of the last hours. What climbs every day at the same hour can be scaled before it.", "percentunit",
			Q(`max by (service, resource) (yubin:utilization:ratio{@})`, "{{service}}: {{resource}}")).From0(1).Limits(0.7, 0.9),
		Graph("Work that waits", "Deliveries and commits in storage's queues; logins that wait for their password's computation; transactions that wait for a connection. A line that stays above 1 is a bottleneck.", "short",
			Q(`sum by (batch) (yubin_storage_batch_queue_items{@})`, "storage: {{batch}}"),
			Q(`sum(rate(yubin_directory_argon2_wait_seconds_sum{@}[~]))`, "directory: logins"),
			Q(`sum(rate(yubin_storage_sql_wait_seconds_sum{@}[~]))`, "storage: database")).From0(0),
	)
}

func wrong() Row {
	return Section("What is wrong?",
		Table("Alerts", "Alerts of Yubin that fire now; each has a runbook in docs/operations.md. Empty is good.", "short",
			Query{Expr: `ALERTS{alertname=~"Yubin.+", alertstate="firing"}`, Legend: "{{alertname}}"}).Wide(8),
		Graph("Checks that fail", "Readiness checks that fail, by process: what it needs and has not.", "short",
			Q(`sum by (job, check) (1 - yubin_health_check_ok{@})`, "{{job}}: {{check}}")).From0(0).Bad().Wide(8),
		Graph("Errors in the logs", "Log records at the level error, by job.", "cps",
			Q(`sum by (job) (rate(yubin_log_records_total{@,level="error"}[~]))`, "{{job}}")).From0(0).Wide(8),
		Table("What runs", "Processes by service and version: two versions for long mean that an upgrade is stuck.", "short",
			Q(`count by (service, version, goversion) (yubin_build_info{@})`, "{{service}} {{version}}")).Wide(12),
		Graph("Starts", "Restarts of processes in the last hour. More than an upgrade explains: look at the previous log.", "short",
			Q(`sum by (job) (changes(process_start_time_seconds{@}[1h]))`, "{{job}}")).From0(0).Wide(12),
	)
}

// fillLevels shows how many mailboxes are how full. The histogram is a snapshot of all accounts, no counter.
func fillLevels() Panel {
	upTo := func(ratio string) string {
		return "max(yubin_quota_accounts_fill_ratio_bucket{@," + bound(ratio) + "})"
	}
	return Bars("Accounts by fill level", "How many mailboxes are how full. Mail to those that are full is refused.", "short",
		Q(upTo("0.5"), "up to 50 %"),
		Q(upTo("0.8")+" - "+upTo("0.5"), "50 to 80 %"),
		Q(upTo("0.9")+" - "+upTo("0.8"), "80 to 90 %"),
		Q(upTo("0.99")+" - "+upTo("0.9"), "90 to 99 %"),
		Q("max(yubin_quota_accounts_fill_ratio_count{@}) - "+upTo("0.99"), "99 % and over")).From0(0)
}
