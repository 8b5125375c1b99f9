-- Contents have keys of their own that never change, the queue is divided into buckets, and what belongs to a
-- workspace has the workspace first in its keys (spec 05, *The queue*; 06, *Database* and *Files*).

-- What the database and the content store have in common.
CREATE TABLE installation (
    -- There is only one.
    id           integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    -- The same ID stands in the store, so that no process works with another one.
    store        uuid NOT NULL
);

-- The bytes of files. Several files of a workspace may share one content.
CREATE TABLE contents (
    -- Whose files have it. No row goes with its workspace: its bytes in the store would be forgotten.
    workspace    uuid NOT NULL,
    -- Given once and never changed: the name in the store.
    key          uuid NOT NULL,
    -- The day in UTC on which the key was given; null for a content that stands in this row.
    day          date,
    -- Bytes.
    size         bigint NOT NULL CHECK (size >= 0),
    -- BLAKE2b-256 of the bytes; null if they were lost before contents had keys.
    hash         bytea CHECK (octet_length(hash) = 32),
    -- The bytes themselves if they are few.
    data         bytea CHECK (octet_length(data) = size),
    -- How many files have it.
    uses         integer NOT NULL DEFAULT 1 CHECK (uses >= 1),
    -- Where an earlier version kept the bytes, until they are brought over; dropped in the next step.
    old_path     text,
    PRIMARY KEY (workspace, key),
    CHECK ((day IS NULL) = (data IS NOT NULL))
);
-- For contents in the store of which nobody knows whose they are.
CREATE INDEX contents_key ON contents (key) WHERE day IS NOT NULL;
-- What is sealed does not compress.
ALTER TABLE contents ALTER COLUMN data SET STORAGE EXTERNAL;

-- Contents that are being written to the store; nothing is promised of them yet.
CREATE TABLE writings (
    -- For whom; as in "contents", without a reference.
    workspace    uuid NOT NULL,
    -- As in "contents".
    key          uuid NOT NULL DEFAULT gen_random_uuid(),
    -- As in "contents".
    day          date NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date,
    -- When the writer counts as dead.
    until        timestamptz NOT NULL,
    PRIMARY KEY (workspace, key)
);
CREATE INDEX writings_until ON writings (until);

-- Contents in the store that no row needs any more; erased some time later, so that a database that is put back to a
-- moment within that time finds all that it needs.
CREATE TABLE garbage (
    -- Whose it was; zero if nobody knows. The workspace may be gone.
    workspace    uuid NOT NULL,
    -- As in "contents".
    key          uuid NOT NULL,
    -- As in "contents".
    day          date NOT NULL,
    -- Since when nothing needs it.
    since        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace, key)
);
CREATE INDEX garbage_since ON garbage (since);
CREATE INDEX garbage_key ON garbage (key);

-- Directories and files: the workspace first in every key.
ALTER TABLE files DROP CONSTRAINT files_folder_fkey, DROP CONSTRAINT files_pkey;
ALTER TABLE folders DROP CONSTRAINT folders_parent_fkey, DROP CONSTRAINT folders_id_workspace;
ALTER TABLE folders DROP CONSTRAINT folders_pkey, DROP CONSTRAINT folders_path_key;
DROP INDEX folders_workspace, folders_parent, files_workspace, files_time;
ALTER TABLE folders
    ADD PRIMARY KEY (workspace, id),
    ADD UNIQUE (workspace, path),
    -- A directory is its workspace's throughout.
    ADD FOREIGN KEY (workspace, parent) REFERENCES folders (workspace, id);
CREATE INDEX folders_parent ON folders (workspace, parent);

-- Nothing was ever pending here.
DELETE FROM files WHERE state <> 'live';
ALTER TABLE files
    DROP COLUMN state,
    -- Its directory has one.
    DROP CONSTRAINT files_workspace_fkey,
    -- Its bytes.
    ADD COLUMN content uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD PRIMARY KEY (workspace, folder, name),
    -- A file is the workspace's whose directory it is in: usage is counted by the one, rights go by the other.
    ADD FOREIGN KEY (workspace, folder) REFERENCES folders (workspace, id) ON DELETE CASCADE;
ALTER TABLE files ALTER COLUMN content DROP DEFAULT;
INSERT INTO contents (workspace, key, day, size, old_path)
    SELECT files.workspace, files.content, (now() AT TIME ZONE 'UTC')::date, files.size, folders.path || ' ' || files.name
    FROM files JOIN folders ON folders.workspace = files.workspace AND folders.id = files.folder;
ALTER TABLE files ADD FOREIGN KEY (workspace, content) REFERENCES contents (workspace, key);
CREATE INDEX files_time ON files (workspace, folder, time);
CREATE INDEX files_content ON files (workspace, content);

ALTER TABLE mailboxes
    -- Bytes of its messages in the queue; they count against its quota.
    ADD COLUMN queued bigint NOT NULL DEFAULT 0 CHECK (queued >= 0);

-- Their numbers come from the mailbox.
ALTER TABLE updates
    DROP CONSTRAINT updates_workspace_fkey,
    ADD FOREIGN KEY (workspace) REFERENCES mailboxes ON DELETE CASCADE;

-- Forgotten after a day whatever becomes of the workspace.
ALTER TABLE submissions DROP CONSTRAINT submissions_workspace_fkey;

-- Messages are counted and accepted in one transaction now.
ALTER TABLE device_sends DROP COLUMN message;

-- Messages that were accepted and are not delivered yet.
ALTER TABLE queue RENAME TO old_queue;
ALTER TABLE old_queue RENAME CONSTRAINT queue_pkey TO old_queue_pkey;
DROP INDEX queue_due, queue_pending, queue_sender, queue_lease, queue_target;
CREATE TABLE queue (
    -- Which worker has it: the first byte of SHA-256 of "destination".
    bucket       smallint NOT NULL CHECK (bucket BETWEEN 0 AND 255),
    -- The server's own name for the message, also in the log, and the key of its content.
    id           uuid NOT NULL,
    -- The target workspace's ID, or the recipient's domain if no workspace was found in it.
    destination  text NOT NULL,
    -- The workspace that it goes to, found at its acceptance if the domain is ours.
    target       uuid,
    -- The workspace whose message it is; zero for the server's own.
    sender       uuid NOT NULL,
    -- The device that handed it in; zero for the server.
    device       uuid NOT NULL,
    -- The local domain of the sender.
    sender_domain text NOT NULL,
    -- The recipient's domain.
    domain       text NOT NULL,
    -- The name of its file below / out SENDER.
    name         text COLLATE "C" NOT NULL,
    -- The first part of that name.
    time         bigint NOT NULL CHECK (time >= 0),
    -- Bytes of its content.
    size         bigint NOT NULL CHECK (size >= 0),
    -- The key of the content, as in "contents".
    content      uuid NOT NULL,
    -- As in "contents".
    day          date,
    -- As in "contents".
    hash         bytea CHECK (octet_length(hash) = 32),
    -- As in "contents".
    data         bytea CHECK (octet_length(data) = size),
    -- 'queued': waits or is on its way. 'failed': can never be delivered and waits for its report.
    state        text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'failed')),
    -- Not to be tried before this time.
    due          timestamptz NOT NULL,
    -- The time that its sender asked for, if any; any other "due" is at most a few hours ahead.
    send_time    timestamptz,
    -- Since when it is to be delivered: its acceptance, or a later time that its sender asked for.
    accepted     timestamptz NOT NULL,
    -- How often delivery was tried; who records the result of a try names the number of it.
    attempts     integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    -- The status code that the last try came to.
    code         integer,
    -- A sentence about it.
    reason       text,
    -- Where an earlier version kept the content, until it is brought over; dropped in the next step.
    old_path     text,
    -- Where it may have moved it.
    old_moved    text,
    PRIMARY KEY (bucket, id),
    CHECK ((day IS NULL) = (data IS NOT NULL))
);
ALTER TABLE queue ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX queue_due ON queue (bucket, due) WHERE state = 'queued';
-- For the other destinations of a bucket while a worker is busy with some of them.
CREATE INDEX queue_destination ON queue (bucket, destination, due) WHERE state = 'queued';
CREATE INDEX queue_sender ON queue (sender, name);
-- For those who list what they have sent since a time.
CREATE INDEX queue_time ON queue (sender, time);
CREATE INDEX queue_content ON queue (content) WHERE day IS NOT NULL;
-- For rows that were made under a clock that was ahead.
CREATE INDEX queue_ahead ON queue (due) WHERE state = 'queued' AND send_time IS NULL;
INSERT INTO queue (bucket, id, destination, sender, device, sender_domain, domain, name, time, size, content, day, state,
        due, send_time, accepted, attempts, code, reason, old_path, old_moved)
    SELECT get_byte(sha256(convert_to(domain, 'UTF8')), 0), id, domain, sender, device, sender_domain, domain, name,
        split_part(name, '.', 1)::bigint, size, gen_random_uuid(), (now() AT TIME ZONE 'UTC')::date, state, due,
        -- Only a message whose sender has asked for a time was due exactly when its age began.
        CASE WHEN attempts = 0 AND accepted = due THEN due END, accepted, attempts, code,
        reason, '/ out ' || sender || ' ' || name, '/ wsp ' || target || ' new ' || target_name
    FROM old_queue WHERE state <> 'pending';
DROP TABLE old_queue;
UPDATE mailboxes SET queued = added.bytes
    FROM (SELECT sender, sum(size) AS bytes FROM queue GROUP BY sender) AS added WHERE added.sender = mailboxes.workspace;

-- The processes that work on the queue.
CREATE TABLE queue_workers (
    -- As in "processes".
    process      uuid PRIMARY KEY,
    -- It counts as dead after this time, unless it renews it.
    until        timestamptz NOT NULL
);

-- Which process works on which bucket of the queue.
CREATE TABLE queue_buckets (
    -- As in "queue".
    bucket       smallint PRIMARY KEY CHECK (bucket BETWEEN 0 AND 255),
    -- The process that works on it while it lives; null if none does.
    process      uuid
);
INSERT INTO queue_buckets (bucket) SELECT generate_series(0, 255);

-- Sessions: the workspace first. They have no reference to their process, whose row is not the workspace's: who removes
-- that row removes them.
ALTER TABLE sessions
    DROP CONSTRAINT sessions_process_fkey,
    DROP CONSTRAINT sessions_pkey,
    ADD PRIMARY KEY (workspace, id);
DROP INDEX sessions_workspace;

-- How each table can be spread over the machines of a distributed database: by workspace, by bucket, by source, or
-- replicated, with the same rows on every machine.
COMMENT ON TABLE workspaces IS 'By workspace, which is "id".';
COMMENT ON TABLE preregistrations IS 'By workspace.';
COMMENT ON TABLE devices IS 'By workspace.';
COMMENT ON TABLE device_sends IS 'By workspace.';
COMMENT ON TABLE sessions IS 'By workspace.';
COMMENT ON TABLE keycard_entries IS 'By workspace, which is "owner"; zero for the organization.';
COMMENT ON TABLE mailboxes IS 'By workspace.';
COMMENT ON TABLE folders IS 'By workspace.';
COMMENT ON TABLE files IS 'By workspace.';
COMMENT ON TABLE contents IS 'By workspace.';
COMMENT ON TABLE writings IS 'By workspace.';
COMMENT ON TABLE garbage IS 'By workspace; zero for contents of which nobody knows whose they were.';
COMMENT ON TABLE updates IS 'By workspace.';
COMMENT ON TABLE submissions IS 'By workspace.';
COMMENT ON TABLE queue IS 'By bucket.';
COMMENT ON TABLE failures IS 'By source.';
COMMENT ON TABLE lookups IS 'By source.';
COMMENT ON TABLE names IS 'Replicated: a user ID is unique in its domain, and looked up by strangers.';
COMMENT ON TABLE organization_keys IS 'Replicated.';
COMMENT ON TABLE processes IS 'Replicated.';
COMMENT ON TABLE queue_workers IS 'Replicated.';
COMMENT ON TABLE queue_buckets IS 'Replicated.';
COMMENT ON TABLE event_counter IS 'Replicated.';
COMMENT ON TABLE events IS 'Replicated: every process reads all of them.';
COMMENT ON TABLE installation IS 'Replicated.';
COMMENT ON TABLE schema_versions IS 'Replicated.';
