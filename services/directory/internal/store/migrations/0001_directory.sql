-- Keys begin with the domain or the account, so that a distributed engine keeps together what is read together.

CREATE TABLE domains (
	name          TEXT    NOT NULL PRIMARY KEY, -- lower-case A-labels
	catch_all     TEXT    NOT NULL,             -- addresses, one a line
	pop_delete    INTEGER NOT NULL,
	no_subaddress BOOLEAN NOT NULL,
	disabled      BOOLEAN NOT NULL,
	created_at    BIGINT  NOT NULL              -- Unix seconds, as all times here
);

CREATE TABLE accounts (
	domain       TEXT    NOT NULL,
	local_part   TEXT    NOT NULL,
	id           TEXT    NOT NULL,
	display_name TEXT    NOT NULL,
	disabled     BOOLEAN NOT NULL,
	pop_delete   INTEGER NOT NULL,
	version      BIGINT  NOT NULL, -- rises with every change of the password
	password     TEXT    NOT NULL, -- PHC string; empty: nobody can log in with a password
	scram        TEXT    NOT NULL, -- RFC 5803; empty: no SCRAM with the password
	created_at   BIGINT  NOT NULL,
	PRIMARY KEY (domain, local_part)
);

CREATE UNIQUE INDEX accounts_id ON accounts (id);

CREATE TABLE app_passwords (
	account_id   TEXT   NOT NULL,
	id           TEXT   NOT NULL,
	label        TEXT   NOT NULL,
	protocols    TEXT   NOT NULL, -- names with a space between; empty: all
	digest       TEXT   NOT NULL,
	scram        TEXT   NOT NULL, -- RFC 5803; empty: no SCRAM
	created_at   BIGINT NOT NULL,
	last_used_at BIGINT NOT NULL, -- 0: never
	PRIMARY KEY (account_id, id)
);

CREATE TABLE aliases (
	domain     TEXT   NOT NULL,
	local_part TEXT   NOT NULL,
	targets    TEXT   NOT NULL, -- addresses, one a line
	created_at BIGINT NOT NULL,
	PRIMARY KEY (domain, local_part)
);

CREATE TABLE settings (
	name  TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
);
