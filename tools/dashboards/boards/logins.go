package boards

import . "github.com/yubin-mail/yubin/tools/dashboards/grafana" //nolint:staticcheck // its words are the language of this package

// Logins is about who comes in, and who tries to.
func Logins() Board {
	return Board{
		UID: "yubin-logins", Title: "Yubin / Logins and abuse", Jobs: "yubin_directory_logins_total",
		Description: "Logins by protocol, mechanism and result, guessed passwords and what is done about them, refused connections, certificates.",
		Rows: []Row{
			Section("Logins",
				Stat("Failed", "Part of the logins with a wrong password or name. More than half for long: somebody guesses.", "percentunit",
					Q(`sum(rate(yubin_directory_logins_total{@,result="failed"}[~])) / sum(rate(yubin_directory_logins_total{@}[~]))`, "failed")).Limits(0.3, 0.6).Wide(6),
				Stat("Slowed down", "Logins refused because of failures before them, per second.", "cps", Q(`sum(rate(yubin_directory_throttled_total{@}[~]))`, "throttled")).Limits(0.1, 1).Wide(6),
				Stat("Waiting for their computation", "Logins that wait for argon2id, on average. Above 1: raise --directory-argon2-parallel, or add replicas.", "short",
					Q(`sum(rate(yubin_directory_argon2_wait_seconds_sum{@}[~]))`, "waiting")).Limits(0.5, 1).Decimals(2).Wide(6),
				Stat("Password cache", "Passwords that were checked lately and need no computation.", "percentunit",
					Q(`sum(rate(yubin_directory_password_cache_total{@,outcome="hit"}[~])) / sum(rate(yubin_directory_password_cache_total{@}[~]))`, "hits")).Wide(6),
				Graph("Logins by result", "Of all protocols, as directory decides.", "cps", Q(`sum by (result) (rate(yubin_directory_logins_total{@}[~]))`, "{{result}}")).Stacked().From0(0),
				Graph("Logins by protocol", "Which gateway do they come through?", "cps", Q(`sum by (protocol) (rate(yubin_directory_logins_total{@}[~]))`, "{{protocol}}")).Stacked().From0(0),
				Graph("Logins by mechanism", "SCRAM never sends the password; PLAIN and LOGIN do, under TLS.", "cps",
					Q(`sum by (mechanism) (rate(yubin_directory_logins_total{@}[~]))`, "{{mechanism}}")).Stacked().From0(0),
				Graph("Failed logins by protocol", "Where somebody guesses.", "cps", Q(`sum by (protocol) (rate(yubin_directory_logins_total{@,result="failed"}[~]))`, "{{protocol}}")).From0(0),
				Graph("Slowed down by scope", "host: one address guesses. network: one network. account: many guess one account's password.", "cps",
					Q(`sum by (scope) (rate(yubin_directory_throttled_total{@}[~]))`, "{{scope}}")).From0(0),
				quantiles("Time of a password's computation", "argon2id, without the wait for it.", "yubin_directory_argon2_seconds"),
			),
			Section("At the doors",
				Graph("Connections refused", "By reason. network: one network has too many connections.", "cps",
					Q(`sum by (reason) (rate({@,__name__=~"yubin_(smtp|pop3|imap)_connections_refused_total"}[~]))`, "{{reason}}")).From0(0),
				Graph("Unknown recipients", "Mail to addresses that do not exist: many of them is somebody who searches for addresses.", "cps",
					Q(`sum(rate(yubin_smtp_recipients_total{@,outcome="unknown"}[~]))`, "unknown")).From0(0),
				Graph("Addresses looked up", "By status.", "cps", Q(`sum by (status) (rate(yubin_directory_resolves_total{@}[~]))`, "{{status}}")).From0(0),
			),
			Section("Certificates",
				Graph("Until certificates end", "By file; those of the public listeners and those between the services. They are read again when they change.", "dtdurations",
					Q(`min by (file) (yubin_tls_certificate_expiry_timestamp_seconds{@}) - time()`, "{{file}}")).From0(0).Wide(12),
				Graph("Certificates read again in an hour", "By result. error: the new file cannot be read, and the old certificate stays in use until it ends.", "short",
					Q(`sum by (result) (increase(yubin_tls_reloads_total{@}[1h]))`, "{{result}}")).From0(0).Wide(12),
			),
			processes("directory"),
		},
	}
}
