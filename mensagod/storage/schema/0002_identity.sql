-- What identity needs beside the entries themselves (spec 03; 04, *Identity* and *Failure limits*).

ALTER TABLE keycard_entries
    -- Bytes of the text in UTF-8.
    ADD COLUMN size    integer NOT NULL GENERATED ALWAYS AS (octet_length(text)) STORED,
    -- Characters of the text that JSON writes with a backslash before them, a byte more for each. Control
    -- characters but CR and LF no entry has.
    ADD COLUMN escapes integer NOT NULL
        GENERATED ALWAYS AS (length(text) - length(translate(text, E'\r\n"\\', ''))) STORED;

-- Which cards changed lately, for the processes that keep cards in memory; forgotten after an hour.
CREATE TABLE keycard_changes (
    -- The transaction that made the change. All that are older than the oldest one that still ran when a process
    -- last looked are known to it.
    xid     xid8 NOT NULL DEFAULT pg_current_xact_id(),
    -- Whose card changed; zero for the organization, whose keys may have changed with it.
    owner   uuid NOT NULL,
    -- When that was; it is only looked at to forget the row.
    at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX keycard_changes_xid ON keycard_changes (xid);

-- Who looked up how many names within the last minute. Each lookup is counted here, so it costs neither log nor
-- sync; it is forgotten when PostgreSQL itself crashes.
CREATE UNLOGGED TABLE lookups (
    -- The source address, or for IPv6 its /64.
    source  text PRIMARY KEY,
    -- When the lookups were, oldest first; never more of them than the limit allows.
    recent  timestamptz[] NOT NULL,
    -- The last of them.
    seen    timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX lookups_seen ON lookups (seen);

-- Failures of one kind from one source, and the lockout that they led to (spec 04, *Failure limits*).
CREATE TABLE failures (
    -- What was tried.
    kind         text NOT NULL CHECK (kind IN ('workspace', 'challenge', 'password', 'device', 'regcode',
                                               'passcode', 'lookup', 'server')),
    -- The source address, or for IPv6 its /64.
    source       text NOT NULL,
    -- When they were, oldest first; never more than the limit.
    recent       timestamptz[] NOT NULL DEFAULT '{}',
    -- Until when tries of this kind from there are refused.
    locked_until timestamptz,
    -- When none of this matters any more.
    expires      timestamptz NOT NULL,
    PRIMARY KEY (kind, source)
);
CREATE INDEX failures_expires ON failures (expires);
