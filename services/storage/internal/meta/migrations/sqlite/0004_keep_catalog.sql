-- What the catalog in the object store has of an account: its latest snapshot, the octets and the number of the increments since the
-- last whole one, and the marks by which a change is found. An account without a row gets a whole snapshot.
CREATE TABLE catalog_accounts (
    account_id   TEXT   NOT NULL PRIMARY KEY,
    snapshot_id  TEXT   NOT NULL,
    generation   BIGINT NOT NULL,
    whole_bytes  BIGINT NOT NULL,
    chain_bytes  BIGINT NOT NULL,
    chain_length BIGINT NOT NULL,
    purged       BIGINT NOT NULL,
    marks        BLOB   NOT NULL
) WITHOUT ROWID;

-- Snapshots that are kept. A generation is a whole snapshot with the increments to it.
CREATE TABLE catalog_frames (
    account_id   TEXT   NOT NULL,
    snapshot_id  TEXT   NOT NULL,
    generation   BIGINT NOT NULL,
    object_key   TEXT   NOT NULL,
    stored_bytes BIGINT NOT NULL,
    PRIMARY KEY (account_id, snapshot_id)
) WITHOUT ROWID;
CREATE INDEX catalog_frames_by_object ON catalog_frames (object_key);

CREATE TABLE catalog_objects (
    object_key   TEXT   NOT NULL PRIMARY KEY,
    total_bytes  BIGINT NOT NULL,
    created_unix BIGINT NOT NULL
) WITHOUT ROWID;

-- A rebuild from the object store that is under way: one row; the accounts that came from the catalog, with the time of their snapshot; the
-- packs that were gone through.
CREATE TABLE rebuilds (
    id           BIGINT NOT NULL PRIMARY KEY,
    started_unix BIGINT NOT NULL
) WITHOUT ROWID;
CREATE TABLE rebuild_accounts (
    account_id TEXT   NOT NULL PRIMARY KEY,
    taken_ms   BIGINT NOT NULL,
    finished   BIGINT NOT NULL
) WITHOUT ROWID;
CREATE TABLE rebuild_objects (
    object_key TEXT NOT NULL PRIMARY KEY
) WITHOUT ROWID;
