-- Counting at a cost that does not grow with the limit (spec 04, *Failure limits*, GETWID, *Sending*).
--
-- A limit over a sliding window is a row with "slot", "used" and "times"; mensagod/storage/slots.py says how slots are
-- taken.

-- Failures of one kind from one source, and the lockout that they led to.
ALTER TABLE failures
    -- The slot that was used last.
    ADD COLUMN slot integer NOT NULL DEFAULT 1 CHECK (slot >= 1),
    -- How many failures it holds; 0 if nothing counts.
    ADD COLUMN used integer NOT NULL DEFAULT 0 CHECK (used >= 0);
-- When each slot got its last failure; at most a hundred.
ALTER TABLE failures RENAME COLUMN recent TO times;
-- The last failures take a slot each. A limit of more than a hundred forgets some of them.
UPDATE failures SET times = times[greatest(cardinality(times) - 99, 1):],
    slot = least(cardinality(times), 100), used = 1 WHERE cardinality(times) > 0;

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

-- What a device has handed in within the last minute. Apart from its row in "devices", which is wide, while this
-- changes with every message.
CREATE TABLE device_sends (
    -- The workspace that the device belongs to.
    workspace uuid NOT NULL,
    -- The device.
    device    uuid NOT NULL,
    -- The slot that was used last.
    slot      integer NOT NULL CHECK (slot >= 1),
    -- How many messages it holds.
    used      integer NOT NULL CHECK (used >= 1),
    -- When each slot got its last message; at most a hundred.
    times     timestamptz[] NOT NULL,
    -- The last message that was counted: tells the statement that makes its row in "queue" that it may.
    message   uuid,
    PRIMARY KEY (workspace, device),
    FOREIGN KEY (workspace, device) REFERENCES devices ON DELETE CASCADE
) WITH (fillfactor = 50);
-- As above.
INSERT INTO device_sends (workspace, device, slot, used, times)
    SELECT workspace, id, least(cardinality(recent_sends), 100), 1,
        recent_sends[greatest(cardinality(recent_sends) - 99, 1):]
    FROM devices WHERE cardinality(recent_sends) > 0;
ALTER TABLE devices DROP COLUMN recent_sends;
