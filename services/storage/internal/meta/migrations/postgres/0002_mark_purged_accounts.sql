-- Accounts that were purged, for good: an id is never used again. unfinished says that rows of it may be left.
CREATE TABLE purged_accounts (
    account_id  TEXT   NOT NULL PRIMARY KEY,
    purged_unix BIGINT NOT NULL,
    unfinished  BIGINT NOT NULL
);
CREATE INDEX purged_accounts_unfinished ON purged_accounts (account_id) WHERE unfinished = 1;
