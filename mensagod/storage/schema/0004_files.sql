-- What was left to the program about files and messages: whose a directory's files are, what is cleaned up; and an
-- index for those who list what came since a time (spec 04, *Files*).

ALTER TABLE folders
    ADD CONSTRAINT folders_id_workspace UNIQUE (id, workspace),
    DROP CONSTRAINT folders_parent_fkey;

ALTER TABLE folders
    -- A directory is its workspace's throughout.
    ADD CONSTRAINT folders_parent_fkey FOREIGN KEY (parent, workspace) REFERENCES folders (id, workspace);

ALTER TABLE files
    DROP CONSTRAINT files_folder_fkey,
    -- A file is the workspace's whose directory it is in: usage is counted by the one, rights go by the other.
    ADD CONSTRAINT files_folder_fkey FOREIGN KEY (folder, workspace) REFERENCES folders (id, workspace);

CREATE INDEX files_time ON files (folder, time);

ALTER TABLE queue
    -- The lease tells when its writer counts as dead: without one a message would be pending for ever.
    ADD CONSTRAINT queue_pending_lease CHECK (state <> 'pending' OR lease IS NOT NULL);
