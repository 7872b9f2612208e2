package boards

import . "github.com/yubin-mail/yubin/tools/dashboards/grafana" //nolint:staticcheck // its words are the language of this package

// POP3 is about mail that is downloaded.
func POP3() Board {
	return Board{
		UID: "yubin-pop3", Title: "Yubin / POP3", Jobs: "yubin_pop3_connections_total",
		Description: "Downloads over POP3: logins, commands, time, what becomes of downloaded mail.",
		Rows: []Row{
			Section("Service",
				Graph("Logins", "By result. failed: wrong passwords. in_use: another session has the maildrop. too_soon: the client polls more often than allowed. unavailable: a service is out of reach.", "cps",
					Q(`sum by (result) (rate(yubin_pop3_logins_total{@}[~]))`, "{{result}}")).From0(0),
				Graph("Logins by mechanism", "USER is the plain command; SCRAM never sends the password.", "cps",
					Q(`sum by (mechanism) (rate(yubin_pop3_logins_total{@}[~]))`, "{{mechanism}}")).From0(0),
				quantiles("Login to list", "Time that the server takes from the login to the end of the first STAT, LIST or UIDL. The objective: 99 % within a second.", "yubin_pop3_login_to_list_seconds"),
				Graph("Commands", "By name.", "cps", Q(`sum by (command) (rate(yubin_pop3_commands_total{@}[~]))`, "{{command}}")).From0(0),
				Graph("Results", "closed: the connection ended with the command.", "cps", Q(`sum by (result) (rate(yubin_pop3_commands_total{@}[~]))`, "{{result}}")).From0(0),
				Graph("Time of commands, 95 %", "With the transfer of what they answer, so that a slow client makes RETR slow.", "s",
					Q(quantile("0.95", "yubin_pop3_command_seconds", "command"), "{{command}}")).From0(0).Exemplars(),
			),
			Section("Mail",
				Graph("Octets given out", "Of messages, by RETR and TOP; and on the wire.", "Bps",
					Q(`sum(rate(yubin_pop3_retrieved_bytes_total{@}[~]))`, "messages"),
					Q(`sum by (direction) (rate(yubin_pop3_network_bytes_total{@}[~]))`, "network {{direction}}")).From0(0),
				Graph("Messages that left the maildrop", "By what became of them: the account's setting for POP3 decides. \"The phone has it and the PC has not\" is expunged.", "cps",
					Q(`sum by (action) (rate(yubin_pop3_deleted_messages_total{@}[~]))`, "{{action}}")).From0(0),
				Graph("Sessions by state", "authorization: not logged in yet.", "short", Q(`sum by (state) (yubin_pop3_sessions{@})`, "{{state}}")).Stacked().From0(0),
			),
			Section("Connections",
				Graph("Open connections", "By listener. The limit is --pop3-max-connections, of each process.", "short",
					Q(`sum by (listener) (yubin_pop3_connections{@})`, "{{listener}}")).Stacked().From0(0),
				Graph("Connections refused", "total: the process is at its limit, add replicas. network: one network has too many. header, untrusted: PROXY protocol.", "cps",
					Q(`sum by (reason) (rate(yubin_pop3_connections_refused_total{@}[~]))`, "{{reason}}")).From0(0),
				Graph("TLS versions", "Completed handshakes.", "cps", Q(`sum by (version) (rate(yubin_pop3_tls_handshakes_total{@}[~]))`, "TLS {{version}}")).From0(0),
			),
			processes("pop3"),
		},
	}
}
