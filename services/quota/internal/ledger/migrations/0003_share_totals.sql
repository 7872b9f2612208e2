-- The sums over all accounts, as they were taken last and who takes the next, and what they were in each hour: several replicas share the work.
-- beside: 0002
CREATE TABLE totals (
    id         BIGINT NOT NULL PRIMARY KEY, -- 1, the only row
    holder     TEXT   NOT NULL,             -- who takes them; empty: nobody
    held_until BIGINT NOT NULL,             -- then another may begin, Unix milliseconds
    taken_at   BIGINT NOT NULL,             -- the last ones, Unix milliseconds; 0: none
    sums       TEXT   NOT NULL              -- JSON
);

INSERT INTO totals (id, holder, held_until, taken_at, sums) VALUES (1, '', 0, 0, '{}');

CREATE TABLE totals_by_hour (
    hour       BIGINT NOT NULL PRIMARY KEY, -- Unix time / 3600
    taken_at   BIGINT NOT NULL,             -- the last ones of the hour, Unix milliseconds
    used_bytes BIGINT NOT NULL              -- of the accounts that have a limit
);
