package boards

import . "github.com/yubin-mail/yubin/tools/dashboards/grafana" //nolint:staticcheck // its words are the language of this package

// What S3 services charge for: writes and lists dearly, reads cheaply, deletes nothing.
const (
	dearRequests  = `operation=~"put|create_multipart|put_part|complete_multipart|list|list_multiparts"`
	cheapRequests = `operation=~"get|head"`
)

// Storage is about bodies and metadata: the write path, the object store and what it costs, the databases.
func Storage() Board {
	return Board{
		UID: "yubin-storage", Title: "Yubin / Storage and S3", Jobs: "yubin_storage_write_seconds_count",
		Description: "Group commit, packs, the object store with the cost of its requests, caches, compaction, databases, the change feed.",
		Variables: []Variable{
			Number("write_price", "Price of 1,000 writes", "In USD; PUT, multipart and LIST requests", "0.005"),
			Number("read_price", "Price of 1,000 reads", "In USD; GET and HEAD requests", "0.0004"),
			Number("month_price", "Price of a GB and month", "In USD", "0.023"),
		},
		Rows: []Row{writePath(), objectStore(), cost(), reads(), bodies(), searches(), database(), replicas(), processes("storage")},
	}
}

func writePath() Row {
	return Section("Writing",
		Graph("Message rows by outcome", "One for each recipient. error, not_stored: the sender was asked to come again.", "cps",
			Q(`sum by (outcome) (rate(yubin_storage_message_rows_total{@}[~]))`, "{{outcome}}")).Stacked().From0(0),
		quantiles("Time of a write", "From a whole message to its durable commit.", "yubin_storage_write_seconds"),
		Graph("Group commit: time of a flush, 99 %", "deliver writes the bodies of a group to the object store; commit is the transaction. Which of them is slow?", "s",
			Q(quantile("0.99", "yubin_storage_batch_flush_seconds", "batch"), "{{batch}}")).From0(0).Exemplars(),
		Graph("Group commit: size", "Submissions that one flush serves, on average. It grows with load, and the cost of each mail falls.", "short",
			Q(`sum by (batch) (rate(yubin_storage_batch_items_sum{@}[~])) / sum by (batch) (rate(yubin_storage_batch_items_count{@}[~]))`, "{{batch}}")).From0(0),
		Graph("Group commit: wait, 99 %", "From a submission's arrival to the beginning of its flush.", "s",
			Q(quantile("0.99", "yubin_storage_batch_wait_seconds", "batch"), "{{batch}}")).From0(0).Exemplars(),
		Graph("Group commit: waiting and refused", "What waits; and what was refused because too much waits (its sender comes again).", "short",
			Q(`sum by (batch) (yubin_storage_batch_queue_items{@})`, "{{batch}} waiting"),
			Q(`sum by (batch) (increase(yubin_storage_batch_refused_total{@}[~]))`, "{{batch}} refused")).From0(0),
		Graph("Packs: bodies in one", "On average. A lone sender makes packs of one, which compaction merges later.", "short",
			Q(`sum(rate(yubin_storage_pack_frames_sum{@}[~])) / sum(rate(yubin_storage_pack_frames_count{@}[~]))`, "bodies")).From0(0),
		Graph("Packs: size", "Of those written, on average.", "bytes",
			Q(`sum(rate(yubin_storage_pack_bytes_sum{@}[~])) / sum(rate(yubin_storage_pack_bytes_count{@}[~]))`, "octets")).From0(0),
		Graph("Spool", "Memory for messages on their way in, the limit is --storage-spool-total-memory; files are those that went to disk.", "bytes",
			Q(`sum(yubin_storage_spool_memory_bytes{@})`, "memory")).From0(0),
	)
}

func objectStore() Row {
	return Section("Object store",
		Graph("Operations", "By kind: range is a read of a part.", "ops", Q(`sum by (op) (rate(yubin_storage_object_operations_total{@}[~]))`, "{{op}}")).From0(0),
		Graph("Operations that fail", "error: the object store answers badly. full: no room. not_found and canceled are harmless in small numbers.", "ops",
			Q(`sum by (op, result) (rate(yubin_storage_object_operations_total{@,result!="ok"}[~]))`, "{{op}} {{result}}")).From0(0),
		Graph("Time of operations, 99 %", "A get ends when it was read.", "s",
			Q(quantile("0.99", "yubin_storage_object_operation_duration_seconds", "op"), "{{op}}")).From0(0).Exemplars(),
		Graph("Throughput", "Octets written and read.", "Bps", Q(`sum by (op) (rate(yubin_storage_object_bytes_total{@}[~]))`, "{{op}}")).From0(0),
		Graph("S3: requests by result", "throttled: the service asks for patience. unavailable, rejected: it does not answer, and mail waits at the senders.", "reqps",
			Q(`sum by (result) (rate(yubin_storage_s3_requests_total{@}[~]))`, "{{result}}")).From0(0),
		Graph("S3: time of requests, 99 %", "Of a get until its content begins.", "s",
			Q(quantile("0.99", "yubin_storage_s3_request_duration_seconds", "operation"), "{{operation}}")).From0(0).Exemplars(),
		Graph("S3: circuit breaker", "0: requests are made. 2: the service does not answer, none are made. 1: one is made to see whether it is back.", "short",
			Q(`max by (kind) (yubin_storage_s3_breaker_state{@})`, "{{kind}}")).From0(2),
		Graph("Free on the disk", "Where storage writes to a disk: embedded stores, spool, disk cache.", "percentunit",
			Q(`yubin_storage_free_bytes{@} / yubin_storage_disk_bytes{@}`, "{{instance}}")).From0(1),
	)
}

func cost() Row {
	const month = " * 30 * 86400 / 1000"
	return Section("Cost of S3",
		Stat("Requests, a month as now", "What the requests would cost if a month went on as the time shown. Set the prices of your service above.", "currencyUSD",
			Q(`sum(rate(yubin_storage_s3_requests_total{@,`+dearRequests+`}[~]))`+month+` * $write_price`, "writes"),
			Q(`sum(rate(yubin_storage_s3_requests_total{@,`+cheapRequests+`}[~]))`+month+` * $read_price`, "reads")).Wide(6),
		Stat("Room, a month", "What the bodies that are stored now cost a month, dead ones too.", "currencyUSD",
			Q(`sum(max by (state) (yubin_storage_body_bytes{@})) / 1e9 * $month_price`, "room")).Wide(6),
		Stat("Writes for 1,000 mails", "Dear requests for each thousand messages stored: what group commit saves. One by one it would be 1,000.", "short",
			Q(`1000 * sum(rate(yubin_storage_s3_requests_total{@,`+dearRequests+`}[~])) / sum(rate(yubin_storage_message_rows_total{@,outcome="stored"}[~]))`, "writes")).Wide(6),
		Stat("Cost of a million mails", "Requests only, as now, of writing and reading.", "currencyUSD",
			Q(`1000 * (sum(rate(yubin_storage_s3_requests_total{@,`+dearRequests+`}[~])) * $write_price + sum(rate(yubin_storage_s3_requests_total{@,`+cheapRequests+`}[~])) * $read_price) / sum(rate(yubin_storage_message_rows_total{@,outcome="stored"}[~]))`, "requests")).Wide(6),
		Graph("Dear and cheap requests", "What the service charges for.", "reqps",
			Q(`sum(rate(yubin_storage_s3_requests_total{@,`+dearRequests+`}[~]))`, "writes and lists"),
			Q(`sum(rate(yubin_storage_s3_requests_total{@,`+cheapRequests+`}[~]))`, "reads")).From0(0).Wide(12),
		Graph("Requests by operation", "Of the S3 service.", "reqps", Q(`sum by (operation) (rate(yubin_storage_s3_requests_total{@}[~]))`, "{{operation}}")).From0(0).Wide(12),
	)
}

func reads() Row {
	hits := func(metric string) string {
		return `sum(rate(` + metric + `{@,result="hit"}[~])) / sum(rate(` + metric + `{@}[~]))`
	}
	return Section("Reading",
		Graph("Cache hits", "Reads that the cache in memory, and the one on disk, answer. The rest goes to the object store.", "percentunit",
			Q(hits("yubin_storage_body_cache_reads_total"), "memory"), Q(hits("yubin_storage_disk_cache_reads_total"), "disk")).From0(1),
		Graph("Cache size", "--storage-read-cache and --storage-read-cache-dir bound it.", "bytes",
			Q(`sum(yubin_storage_body_cache_bytes{@})`, "memory"), Q(`sum(yubin_storage_disk_cache_bytes{@})`, "disk")).From0(0),
		Graph("Bodies that could not be read, in an hour", "missing, corrupt: run yubin storage verify. unavailable: the object store is out of reach. Must be 0.", "short",
			Q(`sum by (reason) (increase(yubin_storage_body_errors_total{@}[1h]))`, "{{reason}}")).From0(0),
	)
}

func bodies() Row {
	return Section("Bodies",
		Graph("Live and dead octets", "Dead ones are given back when compaction rewrites their pack; it keeps them below 43 % of the live ones.", "decbytes",
			Q(`max by (state) (yubin_storage_body_bytes{@})`, "{{state}}")).Stacked().From0(0),
		Graph("Objects", "Packs and large bodies.", "short", Q(`max(yubin_storage_body_objects{@})`, "objects")).From0(0),
		Graph("Compression", "Stored octets as a part of those received.", "percentunit",
			Q(`sum(rate(yubin_storage_body_bytes_total{@,form="stored"}[~])) / sum(rate(yubin_storage_body_bytes_total{@,form="received"}[~]))`, "stored")).From0(1.2),
		Graph("Packs compacted in an hour", "By why: dead ones were mostly deleted, small ones are merged; shared are those of which only the books were put right.", "short",
			Q(`sum by (reason) (increase(yubin_storage_compaction_packs_total{@}[1h]))`, "{{reason}}")).From0(0),
		Graph("What goes", "Messages purged after their retention; objects deleted because nothing in them was alive, or because a crash had left them.", "cps",
			Q(`sum(rate(yubin_storage_purged_messages_total{@}[~]))`, "messages purged"),
			Q(`sum(rate(yubin_storage_reclaimed_objects_total{@}[~]))`, "objects reclaimed"),
			Q(`sum(rate(yubin_storage_orphan_objects_total{@}[~]))`, "orphans")).From0(0),
		Graph("Age of the catalog", "From which mailboxes are rebuilt when the database is lost: at most a few times --storage-catalog-interval.", "s",
			Q(`time() - (max(yubin_storage_catalog_timestamp_seconds{@}) > 0)`, "age")).From0(0),
	)
}

func searches() Row {
	return Section("Searching",
		Graph("How far the index is behind", "Since when the oldest message waits that is not in the index of texts: a second or two, more after a rush, an upgrade or a reindex. Searches read what is not in it.", "s",
			Q(`max(yubin_storage_index_lag_seconds{@})`, "lag")).From0(0),
		Graph("Messages to be indexed", "About: what replicas have noted, and what is left for all of them.", "short",
			Q(`max(yubin_storage_index_pending_messages{@})`, "pending")).From0(0),
		Graph("Indexed", "Messages by result. partial: longer than --storage-index-text. unreadable: run yubin storage verify.", "cps",
			Q(`sum by (result) (rate(yubin_storage_index_messages_total{@}[~]))`, "{{result}}")).From0(0),
		Graph("What searches look at", "Messages by what decides: their state and the index, the text that the index keeps, or the body, which is slow and should be rare.", "cps",
			Q(`sum by (by) (rate(yubin_storage_search_messages_total{@}[~]))`, "{{by}}")).From0(0),
		Graph("Bodies read by searches", "As the index could not answer.", "Bps",
			Q(`sum(rate(yubin_storage_search_read_bytes_total{@}[~]))`, "read")).From0(0),
		Graph("Given up, in an hour", "Searches that had more to read than --storage-search-read, or took longer than --storage-search-time; and attempts to index that failed, which are repeated.", "short",
			Q(`sum(increase(yubin_storage_search_limited_total{@}[1h]))`, "searches"),
			Q(`sum(increase(yubin_storage_index_failures_total{@}[1h]))`, "attempts to index")).From0(0),
	)
}

func database() Row {
	return Section("Database",
		Graph("Transactions", "By class.", "ops", Q(`topk(10, sum by (class) (rate(yubin_storage_sql_transaction_seconds_count{@}[~])))`, "{{class}}")).From0(0),
		Graph("Time of transactions, 99 %", "The ten slowest classes, without the wait for a connection.", "s",
			Q("topk(10, "+quantile("0.99", "yubin_storage_sql_transaction_seconds", "class")+")", "{{class}}")).From0(0).Exemplars(),
		Graph("Connections", "In use and idle, and the most that all replicas may have: the database's own limit has to be above.", "short",
			Q(`sum by (state) (yubin_storage_sql_connections{@})`, "{{state}}"), Q(`sum(yubin_storage_sql_connections_max{@})`, "most")).From0(0),
		Graph("Wait for a connection, 99 %", "Longer than the transactions themselves: more connections, or a faster database.", "s",
			Q(quantile("0.99", "yubin_storage_sql_wait_seconds", ""), "99 %")).From0(0).Exemplars(),
		Graph("Repeated transactions", "Run again after a conflict or a lost connection. Some are normal.", "cps",
			Q(`sum by (reason) (rate(yubin_storage_sql_retries_total{@}[~]))`, "{{reason}}")).From0(0),
		Graph("Failed transactions", "Given up because of the database.", "cps",
			Q(`sum by (reason) (rate(yubin_storage_sql_failures_total{@}[~]))`, "{{reason}}")).From0(0),
	)
}

func replicas() Row {
	return Section("Change feed and settlement",
		Graph("Usage on its way to quota", "Events that quota has not confirmed. It falls to 0 by itself; a line that grows means that quota is out of reach.", "short",
			Q(`max(yubin_storage_events_pending{@})`, "events")).From0(0).Wide(6),
		Graph("Settled", "Events that quota has confirmed.", "cps", Q(`sum(rate(yubin_storage_events_settled_total{@}[~]))`, "settled")).From0(0).Wide(6),
		Graph("Feed between replicas", "Changes told to other replicas, heard from them, and dropped, which a look into the database makes good; with NATS.", "cps",
			Q(`sum by (direction) (rate(yubin_storage_feed_changes_total{@}[~]))`, "{{direction}}")).From0(0).Wide(6),
		Graph("NATS", "1 while a replica is connected. At 0 changes of other replicas are seen up to 2 s late.", "short",
			Q(`min by (instance) (yubin_storage_feed_connected{@})`, "{{instance}}")).From0(1).Wide(6),
		Graph("Watchers", "Streams of IMAP gateways that wait for changes.", "short", Q(`sum(yubin_storage_watchers{@})`, "watchers")).From0(0).Wide(6),
		Graph("Looks into the database", "Polls for changes, by result: rare with NATS.", "cps",
			Q(`sum by (result) (rate(yubin_storage_feed_polls_total{@}[~]))`, "{{result}}")).From0(0).Wide(6),
		Graph("Catalog", "Snapshots of accounts by kind.", "cps",
			Q(`sum by (kind) (rate(yubin_storage_catalog_snapshots_total{@}[~]))`, "{{kind}}")).From0(0).Wide(6),
	)
}
