-- The last full comparison with storage, and who is at the next one: several replicas share the work.
-- beside: 0001
CREATE TABLE reconciliation (
    id             BIGINT NOT NULL PRIMARY KEY, -- 1, the only row
    holder         TEXT   NOT NULL,             -- who compares; empty: nobody
    held_until     BIGINT NOT NULL,             -- then another may begin, Unix milliseconds
    finished_at    BIGINT NOT NULL,             -- the last one, Unix milliseconds; 0: none
    drift_bytes    BIGINT NOT NULL,             -- what it found
    drift_messages BIGINT NOT NULL
);

INSERT INTO reconciliation (id, holder, held_until, finished_at, drift_bytes, drift_messages) VALUES (1, '', 0, 0, 0, 0);
