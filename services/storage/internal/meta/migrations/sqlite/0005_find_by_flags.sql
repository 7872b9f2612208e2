-- Messages that a client looks for by their flags, usually few of a mailbox: the rest costs these indexes nothing.
CREATE INDEX messages_unseen ON messages (account_id, mailbox_id, uid) WHERE flags & 1 = 0;
CREATE INDEX messages_flagged ON messages (account_id, mailbox_id, uid) WHERE flags & 4 <> 0;
CREATE INDEX messages_deleted ON messages (account_id, mailbox_id, uid) WHERE flags & 8 <> 0;

-- Deleted mailboxes of which message rows may be left.
CREATE TABLE closing_mailboxes (
    account_id TEXT   NOT NULL,
    mailbox_id BIGINT NOT NULL,
    name       TEXT   NOT NULL,
    PRIMARY KEY (account_id, mailbox_id)
) WITHOUT ROWID;

-- Work that one replica does at a time: the row is locked meanwhile. state is what the job has to remember: the retention that holds for
-- all deleted messages, in seconds.
CREATE TABLE jobs (
    name  TEXT   NOT NULL PRIMARY KEY,
    state BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO jobs (name, state) VALUES ('purge_expired', 0), ('forget_deliveries', 0), ('shorten_retention', 9223372036854775807);
