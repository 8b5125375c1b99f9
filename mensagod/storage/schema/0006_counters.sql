-- Counters in the place of lists of times: what is counted costs the same however high its limit is
-- (spec 04, *Failure limits*, GETWID, *Sending*).
--
-- A sliding window is a row with "since" and "counts": its newest part began at "since", "counts" has a counter for
-- each part, the newest first. mensagod/storage/windows.py says how they move on.

-- Failures of one kind from one source.
ALTER TABLE failures
    -- When the newest part of the window began.
    ADD COLUMN since  timestamptz NOT NULL DEFAULT now(),
    -- How many failures there were in each part of the window, the newest first; empty after a lockout has begun.
    ADD COLUMN counts integer[] NOT NULL DEFAULT '{}';
-- When each of the old ones leaves the window, nothing tells any more: they all count as long as the last of them.
UPDATE failures SET since = recent[cardinality(recent)], counts = ARRAY[cardinality(recent)]
    WHERE cardinality(recent) > 0;
ALTER TABLE failures DROP COLUMN recent;

-- How many names a source may still look up in its minute; processes take shares of it. The table stays unlogged.
ALTER TABLE lookups
    -- When the minute began, which is with the first lookup after the one before.
    ADD COLUMN since  timestamptz NOT NULL DEFAULT now(),
    -- How many lookups of this minute processes have taken.
    ADD COLUMN taken  integer NOT NULL DEFAULT 0 CHECK (taken >= 0),
    -- How many of them the last one took; 0 if there was nothing left for it.
    ADD COLUMN share  integer NOT NULL DEFAULT 0 CHECK (share >= 0);
UPDATE lookups SET since = recent[1], taken = cardinality(recent) WHERE cardinality(recent) > 0;
ALTER TABLE lookups DROP COLUMN recent, DROP COLUMN seen;
CREATE INDEX lookups_since ON lookups (since);

-- How many messages a device has handed in within the last minute. Apart from its row in "devices", which is wide,
-- while this changes with every message.
CREATE TABLE device_sends (
    -- The workspace that the device belongs to.
    workspace uuid NOT NULL,
    -- The device.
    device    uuid NOT NULL,
    -- When the newest second of the window began.
    since     timestamptz NOT NULL,
    -- How many messages there were in each second of the window, the newest first.
    counts    integer[] NOT NULL,
    -- The last message that was counted: tells the statement that makes its row in "queue" that it may.
    message   uuid,
    PRIMARY KEY (workspace, device),
    FOREIGN KEY (workspace, device) REFERENCES devices ON DELETE CASCADE
) WITH (fillfactor = 50);
-- All of them count as long as the last one.
INSERT INTO device_sends (workspace, device, since, counts)
    SELECT workspace, id, recent_sends[cardinality(recent_sends)], ARRAY[cardinality(recent_sends)]
    FROM devices WHERE cardinality(recent_sends) > 0;
ALTER TABLE devices DROP COLUMN recent_sends;
