-- One row an account that has ever been used.
CREATE TABLE accounts (
    account_id        TEXT   NOT NULL PRIMARY KEY,
    next_mailbox_id   BIGINT NOT NULL,
    next_uid_validity BIGINT NOT NULL,
    event_sequence    BIGINT NOT NULL,
    mailboxes         BIGINT NOT NULL
);

-- Counters are kept by every transaction; nothing scans for them.
CREATE TABLE mailboxes (
    account_id     TEXT   NOT NULL,
    mailbox_id     BIGINT NOT NULL,
    name           TEXT   NOT NULL,
    uid_validity   BIGINT NOT NULL,
    uid_next       BIGINT NOT NULL,
    highest_modseq BIGINT NOT NULL,
    messages       BIGINT NOT NULL,
    unseen         BIGINT NOT NULL,
    deleted        BIGINT NOT NULL,
    deleted_bytes  BIGINT NOT NULL,
    bytes          BIGINT NOT NULL,
    special_use    BIGINT NOT NULL,
    PRIMARY KEY (account_id, mailbox_id)
);
CREATE UNIQUE INDEX mailboxes_by_name ON mailboxes (account_id, name);

CREATE TABLE subscriptions (
    account_id TEXT NOT NULL,
    name       TEXT NOT NULL,
    PRIMARY KEY (account_id, name)
);

-- keywords are canonical names, sorted, separated by spaces. prefix goes before the body of the content.
CREATE TABLE messages (
    account_id    TEXT   NOT NULL,
    mailbox_id    BIGINT NOT NULL,
    uid           BIGINT NOT NULL,
    modseq        BIGINT NOT NULL,
    flags         BIGINT NOT NULL,
    keywords      TEXT   NOT NULL,
    size          BIGINT NOT NULL,
    internal_unix BIGINT NOT NULL,
    saved_unix    BIGINT NOT NULL,
    popped        BIGINT NOT NULL,
    content_id    TEXT   NOT NULL,
    prefix        BYTEA  NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, uid)
);
CREATE INDEX messages_by_modseq ON messages (account_id, mailbox_id, modseq);

-- What the message rows of an account share: where the body lies and what was parsed of it at delivery.
-- refs counts the rows in messages and deleted_messages. pack_share is what this row adds to packs.live_bytes.
CREATE TABLE contents (
    account_id    TEXT   NOT NULL,
    content_id    TEXT   NOT NULL,
    refs          BIGINT NOT NULL,
    object_key    TEXT   NOT NULL,
    object_offset BIGINT NOT NULL,
    stored_size   BIGINT NOT NULL,
    raw_size      BIGINT NOT NULL,
    raw_sum       BIGINT NOT NULL,
    pack_share    BIGINT NOT NULL,
    thread_id     TEXT   NOT NULL,
    sent_unix     BIGINT NOT NULL,
    header_size   BIGINT NOT NULL,
    header        BYTEA  NOT NULL,
    summary       BYTEA  NOT NULL,
    structure     BYTEA  NOT NULL,
    PRIMARY KEY (account_id, content_id)
);
CREATE INDEX contents_by_object ON contents (object_key);

-- Message ids with their base subject, hashed, that lead to a thread.
CREATE TABLE threads (
    account_id TEXT NOT NULL,
    hash       BYTEA NOT NULL,
    thread_id  TEXT NOT NULL,
    PRIMARY KEY (account_id, hash)
);

-- The spelling of a keyword's first use.
CREATE TABLE keywords (
    account_id TEXT NOT NULL,
    folded     TEXT NOT NULL,
    name       TEXT NOT NULL,
    PRIMARY KEY (account_id, folded)
);

-- Vanished UIDs as ranges, kept as long as the mailbox.
CREATE TABLE tombstones (
    account_id TEXT   NOT NULL,
    mailbox_id BIGINT NOT NULL,
    modseq     BIGINT NOT NULL,
    uid_start  BIGINT NOT NULL,
    uid_stop   BIGINT NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, modseq, uid_start)
);

-- Usage changes that quota has not confirmed yet. reservation_ids are separated by spaces.
CREATE TABLE events (
    account_id      TEXT   NOT NULL,
    sequence        BIGINT NOT NULL,
    delta_bytes     BIGINT NOT NULL,
    delta_messages  BIGINT NOT NULL,
    reservation_ids TEXT   NOT NULL,
    PRIMARY KEY (account_id, sequence)
);

-- What a repeated delivery answers.
CREATE TABLE deliveries (
    account_id   TEXT   NOT NULL,
    delivery_id  TEXT   NOT NULL,
    target       TEXT   NOT NULL,
    mailbox_id   BIGINT NOT NULL,
    uid_validity BIGINT NOT NULL,
    uid          BIGINT NOT NULL,
    created_unix BIGINT NOT NULL,
    PRIMARY KEY (account_id, delivery_id, target)
);
CREATE INDEX deliveries_by_age ON deliveries (created_unix);

-- Messages that the operator can restore. They do not count.
CREATE TABLE deleted_messages (
    account_id    TEXT   NOT NULL,
    mailbox_id    BIGINT NOT NULL,
    uid           BIGINT NOT NULL,
    mailbox_name  TEXT   NOT NULL,
    modseq        BIGINT NOT NULL,
    flags         BIGINT NOT NULL,
    keywords      TEXT   NOT NULL,
    size          BIGINT NOT NULL,
    internal_unix BIGINT NOT NULL,
    saved_unix    BIGINT NOT NULL,
    popped        BIGINT NOT NULL,
    content_id    TEXT   NOT NULL,
    prefix        BYTEA  NOT NULL,
    deleted_unix  BIGINT NOT NULL,
    expires_unix  BIGINT NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, uid)
);
CREATE INDEX deleted_messages_by_expiry ON deleted_messages (expires_unix);
CREATE INDEX deleted_messages_by_time ON deleted_messages (account_id, deleted_unix);

-- Objects in the object store. live_refs counts rows in contents; an object without any can go.
CREATE TABLE packs (
    object_key   TEXT   NOT NULL PRIMARY KEY,
    total_bytes  BIGINT NOT NULL,
    live_bytes   BIGINT NOT NULL,
    live_refs    BIGINT NOT NULL,
    created_unix BIGINT NOT NULL
);
CREATE INDEX packs_by_liveness ON packs (live_refs, created_unix);

-- Exclusive POP3 sessions.
CREATE TABLE leases (
    account_id   TEXT   NOT NULL PRIMARY KEY,
    lease_id     TEXT   NOT NULL,
    expires_unix BIGINT NOT NULL
);
