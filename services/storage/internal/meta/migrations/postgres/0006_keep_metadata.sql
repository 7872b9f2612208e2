-- beside: 0005
-- Annotations (RFC 5464) of mailboxes, and of the account itself, whose mailbox_id is 0. viewer is the account whose private entry it is, ''
-- of what all share who may see the mailbox. folded is the name in lower case.
CREATE TABLE metadata_entries (
    account_id TEXT   NOT NULL,
    mailbox_id BIGINT NOT NULL,
    viewer     TEXT   NOT NULL,
    folded     TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    value      BYTEA  NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, viewer, folded)
);
