-- The statements that every message needs, as functions: PostgreSQL plans them once for each connection instead of once
-- for each message, which is most of their cost, and several messages take one round trip. Each statement in them is
-- about one workspace.

-- Remember submissions (one at each place of the arrays), and say what accepting them needs to know.
-- :param recipients: the recipient's workspace ID, or null.
-- :param user_ids: the recipient's user ID in normal form, or null.
CREATE FUNCTION begin_acceptance(
    senders uuid[], domains text[], digests bytea[], names text[], sizes bigint[], recipients uuid[], user_ids text[]
) RETURNS TABLE (
    -- The file name that was answered the first time; null for a message that is new.
    known        text,
    -- Whether it fits into the quota of its sender.
    fits         boolean,
    -- The workspace of the recipient; null if there is none.
    target       uuid,
    -- Its status.
    status       text,
    -- Whether it has a mailbox.
    has_mailbox  boolean
) LANGUAGE plpgsql AS $$
BEGIN
    FOR place IN 1 .. cardinality(senders) LOOP
        known := NULL;
        target := NULL;
        INSERT INTO submissions AS past (workspace, domain, digest, name)
            VALUES (senders[place], domains[place], digests[place], names[place])
            ON CONFLICT (workspace, domain, digest) DO UPDATE SET name = excluded.name, at = excluded.at
            WHERE past.at NOT BETWEEN now() - interval '1 day' AND now() + interval '1 hour';
        IF NOT FOUND THEN
            SELECT past.name INTO known FROM submissions AS past
                WHERE past.workspace = senders[place] AND past.domain = domains[place] AND past.digest = digests[place];
        END IF;
        SELECT box.quota = 0 OR box.used + box.queued + sizes[place] <= box.quota INTO fits
            FROM mailboxes AS box WHERE box.workspace = senders[place];
        IF recipients[place] IS NOT NULL THEN
            SELECT account.id, account.status INTO target, status FROM workspaces AS account
                WHERE account.id = recipients[place] AND account.domain = domains[place];
        ELSIF user_ids[place] IS NOT NULL THEN
            SELECT account.id, account.status INTO target, status
                FROM names AS held JOIN workspaces AS account ON account.id = held.workspace
                WHERE held.domain = domains[place] AND held.user_id = user_ids[place] AND held.kind <> 'former';
        END IF;
        has_mailbox := EXISTS (SELECT FROM mailboxes AS box WHERE box.workspace = target);
        RETURN NEXT;
    END LOOP;
END $$;

-- Put contents into the directories "new" of workspaces: the file, its content, its usage and its update record.
-- :param targets: the workspaces, in the order in which their mailboxes are locked.
-- :param counts: how many contents each of them gets; the other arrays have a place for each content, in that order.
-- :param patient: whether to wait for locked mailboxes.
CREATE FUNCTION place_arrivals(
    targets uuid[], counts integer[], patient boolean, maker uuid, file_names text[], times bigint[], sizes bigint[],
    keys uuid[], days date[], hashes bytea[], bytes bytea[], records uuid[]
) RETURNS TABLE (
    -- A workspace, in the order of "targets".
    target       uuid,
    -- 'placed'; 'no folder' if the directory is missing; 'no room' if the mailbox is missing, full, or locked by another
    -- transaction. Nothing was changed in the last two cases.
    outcome      text
) LANGUAGE plpgsql AS $$
DECLARE
    place  integer := 0;  -- of the content before the next
    growth bigint;        -- bytes for this workspace
    folder_id bigint;     -- its directory "new"
    newest bigint;        -- the number of its newest update record, before or after the change
    moment timestamptz;   -- of its new records
BEGIN
    FOR nth IN 1 .. cardinality(targets) LOOP
        target := targets[nth];
        outcome := 'no room';
        SELECT folder.id INTO folder_id FROM folders AS folder
            WHERE folder.workspace = target AND folder.path = '/ wsp ' || target || ' new';
        IF folder_id IS NULL THEN
            outcome := 'no folder';
        ELSE
            growth := 0;
            FOR one IN place + 1 .. place + counts[nth] LOOP
                growth := growth + sizes[one];
            END LOOP;
            IF NOT patient THEN
                PERFORM FROM mailboxes AS box WHERE box.workspace = target FOR UPDATE SKIP LOCKED;
            END IF;
            IF patient OR FOUND THEN
                UPDATE mailboxes AS box SET used = used + growth, files = files + counts[nth],
                        last_update = last_update + counts[nth]
                    WHERE box.workspace = target AND (quota = 0 OR used + queued + growth <= quota)
                    RETURNING last_update - counts[nth] INTO newest;
                IF FOUND THEN
                    outcome := 'placed';
                END IF;
            END IF;
        END IF;
        IF outcome = 'placed' THEN
            -- Read while the mailbox is locked, and never before the record before, even if the clock was set back: a
            -- client that asks for records since a time would miss the new ones.
            SELECT max(past.time) INTO moment FROM updates AS past
                WHERE past.workspace = target AND past.number = newest;
            moment := greatest(moment, clock_timestamp());
            FOR one IN place + 1 .. place + counts[nth] LOOP
                newest := newest + 1;
                INSERT INTO contents (workspace, key, day, size, hash, data)
                    VALUES (target, keys[one], days[one], sizes[one], hashes[one], bytes[one]);
                INSERT INTO files (workspace, folder, name, time, size, content)
                    VALUES (target, folder_id, file_names[one], times[one], sizes[one], keys[one]);
                INSERT INTO updates (workspace, number, id, type, data, time, device)
                    VALUES (target, newest, records[one], 'CREATE',
                        '/ wsp ' || target || ' new ' || file_names[one], moment, maker);
            END LOOP;
        END IF;
        place := place + counts[nth];
        RETURN NEXT;
    END LOOP;
END $$;
