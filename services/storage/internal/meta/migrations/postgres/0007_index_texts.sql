-- beside: 0005
-- How far the index of texts is in a mailbox: texts of all messages below next_uid are kept, those of messages below renew_uid are to be made
-- anew when next_uid comes to them. Segments are numbered from next_segment on. format is that of the index.
CREATE TABLE text_mailboxes (
    account_id   TEXT   NOT NULL,
    mailbox_id   BIGINT NOT NULL,
    next_uid     BIGINT NOT NULL,
    renew_uid    BIGINT NOT NULL,
    next_segment BIGINT NOT NULL,
    format       BIGINT NOT NULL,
    PRIMARY KEY (account_id, mailbox_id)
);

-- The text of a content, folded. It goes with the content.
CREATE TABLE text_contents (
    account_id TEXT NOT NULL,
    content_id TEXT NOT NULL,
    text       BYTEA NOT NULL,
    PRIMARY KEY (account_id, content_id)
);

-- Which messages a segment of the index has: all that its mailbox had between these UIDs.
CREATE TABLE text_segments (
    account_id TEXT   NOT NULL,
    mailbox_id BIGINT NOT NULL,
    segment_id BIGINT NOT NULL,
    first_uid  BIGINT NOT NULL,
    last_uid   BIGINT NOT NULL,
    messages   BIGINT NOT NULL,
    header     BYTEA  NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, segment_id)
);

-- The terms of a chunk and the messages that have them. What a search asks of all segments lies together.
CREATE TABLE text_postings (
    account_id TEXT   NOT NULL,
    mailbox_id BIGINT NOT NULL,
    chunk      BIGINT NOT NULL,
    segment_id BIGINT NOT NULL,
    postings   BYTEA  NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, chunk, segment_id)
);

-- Mailboxes whose messages are yet to be indexed, for whichever replica has time. messages is about how many.
CREATE TABLE text_queue (
    account_id    TEXT   NOT NULL,
    mailbox_id    BIGINT NOT NULL,
    since_unix    BIGINT NOT NULL,
    messages      BIGINT NOT NULL,
    holder        TEXT   NOT NULL,
    claimed_until BIGINT NOT NULL,
    PRIMARY KEY (account_id, mailbox_id)
);
CREATE INDEX text_queue_by_claim ON text_queue (claimed_until);
