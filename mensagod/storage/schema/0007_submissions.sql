-- Messages are not sent twice when a client hands the same one in again (spec 04, *Sending*).

-- What workspaces handed in within the last day.
CREATE TABLE submissions (
    -- The workspace whose message it is.
    workspace    uuid NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    -- The recipient's domain.
    domain       text NOT NULL,
    -- BLAKE2b of the envelope as it was handed in, 32 bytes.
    digest       bytea NOT NULL CHECK (octet_length(digest) = 32),
    -- The file name that was answered the first time.
    name         text COLLATE "C" NOT NULL,
    -- When the message was accepted.
    at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace, domain, digest)
);
CREATE INDEX submissions_at ON submissions (at);
