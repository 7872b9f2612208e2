-- What replicas tell each other about logins, so that a guesser has no more tries with more of them. Rows go after an hour.
-- beside: 0001
CREATE TABLE login_events (
	at      BIGINT  NOT NULL, -- Unix milliseconds
	id      TEXT    NOT NULL, -- random
	replica TEXT    NOT NULL, -- which one says it
	account TEXT    NOT NULL, -- SHA-256 of the login name, hexadecimal
	ip      TEXT    NOT NULL, -- empty: not known
	success BOOLEAN NOT NULL,
	PRIMARY KEY (at, id)
);
