-- A pack is claimed by the replica that rewrites it, until a time. Until paused_until it is left alone, as it
-- cannot be read, or its counters are wrong.
ALTER TABLE packs ADD COLUMN claimed_by TEXT NOT NULL DEFAULT '';
ALTER TABLE packs ADD COLUMN claimed_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE packs ADD COLUMN paused_until BIGINT NOT NULL DEFAULT 0;

-- What is worth rewriting: the queries have the same conditions word for word.
CREATE INDEX packs_mostly_dead ON packs (live_bytes) WHERE live_refs > 0 AND live_bytes * 10 < total_bytes * 7;
CREATE INDEX packs_small ON packs (total_bytes, created_unix) WHERE live_refs > 0 AND total_bytes < 8388608;

-- The rows of one frame.
CREATE INDEX contents_by_frame ON contents (object_key, object_offset);
DROP INDEX contents_by_object;

-- Objects that no row in packs knows, each with the time from which on it may be deleted: packs that holder is writing, and packs in which
-- nothing is alive.
CREATE TABLE loose_objects (
    object_key TEXT   NOT NULL PRIMARY KEY,
    holder     TEXT   NOT NULL,
    until_unix BIGINT NOT NULL
);
CREATE INDEX loose_objects_by_time ON loose_objects (until_unix);

-- Periodic work that one replica does for all: who holds it until when, when it is due again, and how far it came.
CREATE TABLE job_leases (
    name       TEXT   NOT NULL PRIMARY KEY,
    holder     TEXT   NOT NULL,
    until_unix BIGINT NOT NULL,
    due_unix   BIGINT NOT NULL,
    position   TEXT   NOT NULL
);
