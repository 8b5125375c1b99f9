-- The first schema of mensagod (spec 06, *Database*).
--
-- Conventions: identifiers are uuid, times are timestamptz, states are text with a check constraint.
-- The all-zero uuid stands for the server itself.

CREATE TABLE workspaces (
    -- The workspace's RandomID; never given out again, also after archiving.
    id                  uuid PRIMARY KEY CHECK (id <> '00000000-0000-0000-0000-000000000000'),
    -- The local domain that the workspace belongs to; never changes.
    domain              text NOT NULL,
    -- Whether it may log in and receive (spec 04, LOGIN).
    status              text NOT NULL CHECK (status IN ('active', 'approved', 'pending', 'preregistered',
                                                        'disabled', 'suspended', 'unpaid', 'archived')),
    -- Argon2id of what the client calls its password hash; absent before registration and after archiving.
    password_hash       text,
    -- What the client needs to make its hash again, as it gave it; empty where it gave nothing.
    password_algorithm  text NOT NULL DEFAULT '',
    -- The second of these.
    password_salt       text NOT NULL DEFAULT '',
    -- The third.
    password_parameters text NOT NULL DEFAULT '',
    -- When the row was made.
    created             timestamptz NOT NULL DEFAULT now(),
    CHECK ((password_hash IS NULL) = (status IN ('preregistered', 'archived')))
);

-- Every user ID that was ever given out in a local domain: of workspaces, of preregistrations and of aliases.
CREATE TABLE names (
    -- The local domain.
    domain      text NOT NULL,
    -- The user ID in normal form.
    user_id     text NOT NULL,
    -- The workspace that holds the name, or to which the alias leads.
    workspace   uuid NOT NULL REFERENCES workspaces,
    -- 'current' is the workspace's own name, 'former' one it gave up and that stays reserved to it,
    -- 'alias' leads to it without being its name.
    kind        text NOT NULL CHECK (kind IN ('current', 'former', 'alias')),
    -- The Unicode version by whose rules the name was normalised (spec 02, *User IDs*).
    unicode     text NOT NULL,
    -- When the name was given.
    created     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (domain, user_id)
);
CREATE UNIQUE INDEX names_one_current ON names (workspace) WHERE kind = 'current';
CREATE INDEX names_workspace ON names (workspace);

-- Workspaces that were made and whose owners have not come yet (spec 04, PREREG and REGCODE).
CREATE TABLE preregistrations (
    -- The workspace that waits for its owner.
    workspace   uuid PRIMARY KEY REFERENCES workspaces ON DELETE CASCADE,
    -- Argon2id of the registration code.
    code_hash   text NOT NULL,
    -- When it was made.
    created     timestamptz NOT NULL DEFAULT now()
);

-- The devices of workspaces, those too that only asked (spec 04, *Logging in*).
CREATE TABLE devices (
    -- The workspace that the device belongs to, or would.
    workspace    uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    -- The device's RandomID, unique within its workspace.
    id           uuid NOT NULL,
    -- The device's public encryption key, a CryptoString.
    key          text NOT NULL,
    -- What the device tells its siblings of itself, sealed; opaque here.
    info         text,
    -- What the device may do (spec 04, DEVICE).
    status       text NOT NULL CHECK (status IN ('registered', 'approved', 'pending', 'blocked')),
    -- Where it first asked from.
    address      text NOT NULL DEFAULT '',
    -- When it first asked.
    created      timestamptz NOT NULL DEFAULT now(),
    -- When it logged in last.
    last_login   timestamptz,
    -- When it handed in messages within the last minute (spec 04, *Sending*), oldest first.
    recent_sends timestamptz[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (workspace, id)
);

-- The state of a workspace's files; its row lock puts all changes of one workspace in order.
CREATE TABLE mailboxes (
    -- Whose files these are.
    workspace    uuid PRIMARY KEY REFERENCES workspaces ON DELETE CASCADE,
    -- Bytes that the workspace may use; 0 is no limit.
    quota        bigint NOT NULL CHECK (quota >= 0),
    -- Bytes of its live files.
    used         bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
    -- The number of its live files.
    files        bigint NOT NULL DEFAULT 0 CHECK (files >= 0),
    -- The number of its newest update record.
    last_update  bigint NOT NULL DEFAULT 0 CHECK (last_update >= 0)
);

-- The directories of workspaces (spec 04, *Files*).
CREATE TABLE folders (
    -- By which files refer to it.
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Whose directory it is.
    workspace    uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    -- The directory's server path (spec 02, *Server paths*).
    path         text COLLATE "C" NOT NULL UNIQUE,
    -- The directory that contains it; none for the workspace's root.
    parent       bigint REFERENCES folders,
    -- The name that only the clients can read, a CryptoString; none for the three top directories.
    client_path  text,
    -- When it was made.
    created      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX folders_workspace ON folders (workspace);
CREATE INDEX folders_parent ON folders (parent);

-- The truth about which files exist; the store holds their content (spec 04, *Files*).
CREATE TABLE files (
    -- The directory that the file is in.
    folder       bigint NOT NULL REFERENCES folders,
    -- TIME.SIZE.UUID
    name         text COLLATE "C" NOT NULL,
    -- Whose file it is, as its directory says too.
    workspace    uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    -- The first part of the name.
    time         bigint NOT NULL CHECK (time >= 0),
    -- The second part of the name.
    size         bigint NOT NULL CHECK (size >= 0),
    -- A 'pending' file's content is still being written; only 'live' ones exist for a client.
    state        text NOT NULL DEFAULT 'live' CHECK (state IN ('pending', 'live')),
    -- When the row was made.
    created      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (folder, name)
);
CREATE INDEX files_workspace ON files (workspace);

-- What changed in a workspace, for its devices (spec 04, *Update notification*).
CREATE TABLE updates (
    -- Where the change was made.
    workspace    uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    -- Counts from 1 within the workspace, given under the lock of its mailboxes row.
    number       bigint NOT NULL,
    -- The record's RandomID.
    id           uuid NOT NULL,
    -- What kind of change it was.
    type         text NOT NULL CHECK (type IN ('CREATE', 'DELETE', 'RMDIR', 'MKDIR', 'MOVE', 'REPLACE')),
    -- What was changed, in the form of its type.
    data         text NOT NULL,
    -- Taken under the same lock, so that it never runs against the numbers.
    time         timestamptz NOT NULL,
    -- The device that made the change; zero for the server.
    device       uuid NOT NULL,
    PRIMARY KEY (workspace, number),
    UNIQUE (workspace, id)
);
CREATE INDEX updates_time ON updates (workspace, time);

-- The organization's own keys; the private ones are encrypted with the key in organization.key.
CREATE TABLE organization_keys (
    -- A CryptoString.
    public       text PRIMARY KEY,
    -- What the key is for.
    purpose      text NOT NULL CHECK (purpose IN ('signing', 'encryption')),
    -- XSALSA20 secret box over the private key's CryptoString text.
    private      text NOT NULL,
    -- 'previous' keys still open what was sealed to them; 'revoked' ones are never used again.
    status       text NOT NULL CHECK (status IN ('current', 'previous', 'revoked')),
    -- When the pair was made.
    created      timestamptz NOT NULL DEFAULT now(),
    -- When it ceased to be current.
    retired      timestamptz,
    CHECK ((status = 'current') = (retired IS NULL))
);
CREATE UNIQUE INDEX organization_keys_one_current ON organization_keys (purpose) WHERE status = 'current';

-- Keycards: chains of signed entries, kept byte for byte as they were signed (spec 03).
CREATE TABLE keycard_entries (
    -- The workspace, or zero for the organization.
    owner        uuid NOT NULL,
    -- The same as a reference; null for the organization.
    workspace    uuid REFERENCES workspaces,
    -- The entry's Index.
    number       integer NOT NULL CHECK (number >= 1),
    -- The canonical text.
    text         text NOT NULL,
    -- The value of its Hash line.
    hash         text NOT NULL,
    -- The entry's Timestamp.
    signed       timestamptz NOT NULL,
    -- The entry's Expires, as the beginning of that day.
    expires      timestamptz NOT NULL,
    -- When it came.
    created      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, number),
    CHECK (CASE WHEN owner = '00000000-0000-0000-0000-000000000000' THEN workspace IS NULL
                ELSE workspace IS NOT NULL AND workspace = owner END)
);

-- Messages that were accepted and are not delivered yet (spec 05, *The queue*).
CREATE TABLE queue (
    -- The server's own name for the message, also in the log.
    id           uuid PRIMARY KEY,
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
    -- The size of that file in bytes.
    size         bigint NOT NULL CHECK (size >= 0),
    -- 'pending': the file is being written, nothing is promised yet. 'queued': waits or is on its way.
    -- 'failed': can never be delivered and waits for its report.
    state        text NOT NULL CHECK (state IN ('pending', 'queued', 'failed')),
    -- Not to be tried before this time.
    due          timestamptz NOT NULL,
    -- Since when it is to be delivered: its acceptance, or a later time that its sender asked for.
    accepted     timestamptz NOT NULL DEFAULT now(),
    -- How often delivery was tried.
    attempts     integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    -- Who works on it.
    lease        uuid,
    -- Until when that holds unless it is renewed.
    lease_until  timestamptz,
    -- The workspace in whose mailbox it will stand, fixed before its file moves.
    target       uuid REFERENCES workspaces,
    -- The name that it will have there.
    target_name  text,
    -- The status code that the last try came to.
    code         integer,
    -- A sentence about it.
    reason       text,
    UNIQUE (sender, name),
    CHECK ((lease IS NULL) = (lease_until IS NULL)),
    CHECK ((target IS NULL) = (target_name IS NULL))
);
CREATE INDEX queue_due ON queue (due) WHERE state = 'queued';
CREATE INDEX queue_pending ON queue (lease_until) WHERE state = 'pending';
CREATE INDEX queue_sender ON queue (sender);
CREATE INDEX queue_lease ON queue (lease) WHERE lease IS NOT NULL;
CREATE INDEX queue_target ON queue (target) WHERE target IS NOT NULL;

-- The server processes that share this database.
CREATE TABLE processes (
    -- Chosen anew at each start.
    id           uuid PRIMARY KEY,
    -- Machine and process id, for the operator.
    name         text NOT NULL,
    -- Since when it runs.
    started      timestamptz NOT NULL DEFAULT now(),
    -- Renewed every few seconds; one that stopped doing so is dead.
    seen         timestamptz NOT NULL DEFAULT now()
);

-- Who is logged in where.
CREATE TABLE sessions (
    -- The session's own.
    id           uuid PRIMARY KEY,
    -- The process that has the connection.
    process      uuid NOT NULL REFERENCES processes ON DELETE CASCADE,
    -- The workspace that is logged in.
    workspace    uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    -- The device that is logged in.
    device       uuid NOT NULL,
    -- The client's address.
    address      text NOT NULL,
    -- Since when.
    started      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sessions_workspace ON sessions (workspace);
CREATE INDEX sessions_process ON sessions (process);
