-- One row an account: what it may use, uses, and has reserved.
CREATE TABLE ledger (
    account_id        TEXT   NOT NULL PRIMARY KEY,
    domain            TEXT   NOT NULL,
    limit_bytes       BIGINT,          -- the account's own limit; NULL: the domain's
    limit_messages    BIGINT,
    used_bytes        BIGINT NOT NULL,
    used_messages     BIGINT NOT NULL,
    reserved_bytes    BIGINT NOT NULL, -- sum of the account's rows in reservations
    reserved_messages BIGINT NOT NULL,
    last_sequence     BIGINT NOT NULL, -- of the last event applied
    alarm_level       BIGINT NOT NULL, -- percent the owner was warned of, 0: none
    alarm_rearm       BIGINT NOT NULL, -- below this percent the warning may come again
    notices           BIGINT NOT NULL  -- notices ever written, the number of the last
);

CREATE INDEX ledger_limited ON ledger (account_id) WHERE limit_bytes IS NOT NULL OR limit_messages IS NOT NULL;

-- The defaults of domains, and of all under the empty name.
CREATE TABLE limits (
    domain   TEXT NOT NULL PRIMARY KEY,
    bytes    BIGINT,
    messages BIGINT
);

CREATE TABLE reservations (
    account_id     TEXT   NOT NULL,
    reservation_id TEXT   NOT NULL,
    bytes          BIGINT NOT NULL,
    messages       BIGINT NOT NULL,
    reserved_at    BIGINT NOT NULL, -- Unix milliseconds
    expires_at     BIGINT NOT NULL,
    PRIMARY KEY (account_id, reservation_id)
);

CREATE UNIQUE INDEX reservations_by_id ON reservations (reservation_id);
CREATE INDEX reservations_by_expiry ON reservations (expires_at);

-- Warnings that are to be mailed; a row goes when its mail is stored.
CREATE TABLE notices (
    account_id     TEXT   NOT NULL,
    number         BIGINT NOT NULL,
    level          BIGINT NOT NULL, -- percent
    refused        BIGINT NOT NULL, -- 1: because mail was refused
    limit_bytes    BIGINT NOT NULL,
    limit_messages BIGINT NOT NULL,
    used_bytes     BIGINT NOT NULL,
    used_messages  BIGINT NOT NULL,
    created_at     BIGINT NOT NULL, -- Unix milliseconds
    PRIMARY KEY (account_id, number)
);
