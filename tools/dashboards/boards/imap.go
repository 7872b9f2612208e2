package boards

import . "github.com/yubin-mail/yubin/tools/dashboards/grafana" //nolint:staticcheck // its words are the language of this package

// IMAP is about mail that is read.
func IMAP() Board {
	return Board{
		UID: "yubin-imap", Title: "Yubin / IMAP", Jobs: "yubin_imap_connections_total",
		Description: "Mailboxes that are read and kept in step on many devices: sessions, commands, time, change notices.",
		Rows: []Row{
			Section("Service",
				quantiles("Login to list", "Time that the server takes from the login to the end of the first FETCH: how long a user waits for the list of messages. The objective: 99 % within a second.", "yubin_imap_login_to_list_seconds"),
				Graph("Time of commands, 95 %", "From a command's first octet to its tagged response, without IDLE; with the time that the client takes to send and to read.", "s",
					Q("topk(10, "+quantile("0.95", "yubin_imap_command_duration_seconds", "command")+")", "{{command}}")).From0(0).Exemplars(),
				Graph("Results", "no: refused, as over quota or unknown mailbox. bad: the client spoke nonsense. bye: the session ended with the command.", "cps",
					Q(`sum by (result) (rate(yubin_imap_commands_total{@}[~]))`, "{{result}}")).From0(0),
				Graph("Commands", "The ten most frequent.", "cps", Q(`topk(10, sum by (command) (rate(yubin_imap_commands_total{@}[~])))`, "{{command}}")).From0(0),
				Graph("Commands that fail", "By command, without those that succeed.", "cps",
					Q(`topk(10, sum by (command, result) (rate(yubin_imap_commands_total{@,result!="ok"}[~])))`, "{{command}} {{result}}")).From0(0),
				Graph("Logins", "refused: wrong passwords. limit: too many sessions of the account. error: directory is out of reach.", "cps",
					Q(`sum by (result) (rate(yubin_imap_logins_total{@}[~]))`, "{{result}}")).From0(0),
			),
			Section("Sessions",
				Graph("Sessions by state", "Selected ones have a mailbox open.", "short",
					Q(`sum by (state) (yubin_imap_sessions{@})`, "{{state}}")).Stacked().From0(0),
				Graph("Sessions in IDLE", "They wait for news; what they cost is memory.", "short", Q(`sum(yubin_imap_idle_sessions{@})`, "idle")).From0(0),
				Graph("How sessions end", "logout: the client said so. bye: the server did. broken: the connection was lost, as with phones; a sudden rise is not the phones.", "cps",
					Q(`sum by (cause) (rate(yubin_imap_session_ends_total{@}[~]))`, "{{cause}}")).From0(0),
				Graph("Change notices", "1 while a gateway hears of changes from storage at once. At 0 other devices see changes only at the next poll.", "short",
					Q(`min by (instance) (yubin_imap_watch_connected{@})`, "{{instance}}")).From0(1),
				Graph("Views", "Mailboxes that are selected, and messages in them: 48 octets of memory each. Kept are those that no session has selected any more.", "short",
					Q(`sum(yubin_imap_views{@})`, "mailboxes"), Q(`sum(yubin_imap_view_messages{@})`, "messages"), Q(`sum(yubin_imap_kept_messages{@})`, "messages kept")).From0(0),
				Graph("Syncs of views", "Questions to storage for what has changed, by result.", "cps",
					Q(`sum by (result) (rate(yubin_imap_view_syncs_total{@}[~]))`, "{{result}}")).From0(0),
			),
			Section("Connections",
				Graph("Open connections", "By listener. The limit is --imap-max-connections, of each process.", "short",
					Q(`sum by (listener) (yubin_imap_connections{@})`, "{{listener}}")).Stacked().From0(0).Wide(6),
				Graph("Connections refused", "total: the process is at its limit, add replicas. network: one network has too many. header, untrusted: PROXY protocol.", "cps",
					Q(`sum by (reason) (rate(yubin_imap_connections_refused_total{@}[~]))`, "{{reason}}")).From0(0).Wide(6),
				Graph("TLS versions", "Completed handshakes.", "cps", Q(`sum by (version) (rate(yubin_imap_tls_handshakes_total{@}[~]))`, "TLS {{version}}")).From0(0).Wide(6),
				Graph("Octets", "On the wire.", "Bps", Q(`sum by (direction) (rate(yubin_imap_network_bytes_total{@}[~]))`, "{{direction}}")).From0(0).Wide(6),
			),
			processes("imap"),
		},
	}
}
