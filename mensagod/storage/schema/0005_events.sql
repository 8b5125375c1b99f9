-- What every process must hear of within a second (spec 06, *Running many*): changed keycards and keys, ended sessions.

-- Gives events their numbers; it has one row, made with the first event.
CREATE TABLE event_counter (
    -- There is only one.
    id          integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    -- The number of the newest event. Who takes the next one keeps this row locked until it commits, so events become
    -- visible in the order of their numbers, and who knows all up to one number misses none before it.
    last        bigint NOT NULL CHECK (last >= 1)
) WITH (fillfactor = 50);

-- The events of the last hour.
CREATE TABLE events (
    -- Counts from 1 without a gap, see above: so who finds fewer than there were knows that some are forgotten.
    number      bigint PRIMARY KEY,
    -- 'card': a keycard changed, or the organization's keys. 'sessions': sessions were ended.
    kind        text NOT NULL CHECK (kind IN ('card', 'sessions')),
    -- The workspace that it is about; zero for the organization, whose card or keys or both changed.
    workspace   uuid NOT NULL,
    -- The device whose sessions ended; null for those of all devices of the workspace.
    device      uuid,
    -- The session that goes on, if there is one.
    spare       uuid,
    -- Why the sessions ended, for their clients and for the log.
    reason      text,
    -- When that was; it is only looked at to forget the row.
    at          timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'sessions') = (reason IS NOT NULL)),
    CHECK (kind = 'sessions' OR (device IS NULL AND spare IS NULL))
);

-- In its place; what it holds matters to nobody who starts with this step.
DROP TABLE keycard_changes;
