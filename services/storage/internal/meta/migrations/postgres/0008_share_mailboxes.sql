-- beside: 0005
-- Access control lists (RFC 4314): what others than the owner may do with a mailbox. grantee is an account, or '@' and a domain for all of its
-- accounts; rights are letters in the order of section 2.1, never none.
CREATE TABLE mailbox_access (
    account_id TEXT   NOT NULL,
    mailbox_id BIGINT NOT NULL,
    grantee    TEXT   NOT NULL,
    rights     TEXT   NOT NULL,
    PRIMARY KEY (account_id, mailbox_id, grantee)
);
CREATE INDEX mailbox_access_by_grantee ON mailbox_access (grantee, account_id, mailbox_id);

-- The modseq of the list's last change; 0: there never was a list.
ALTER TABLE mailboxes ADD COLUMN access_modseq BIGINT NOT NULL DEFAULT 0;

-- Bodies that a rebuild looks for: what was copied from another account is in a pack that does not name this one.
CREATE INDEX contents_awaited ON contents (content_id) WHERE pack_share = -1;
