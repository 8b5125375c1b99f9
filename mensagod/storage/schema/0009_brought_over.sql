-- No content is where an earlier version kept it. Before this step they are brought over, see
-- mensagod/storage/bringing_over.py; it fails if there is one left.

ALTER TABLE contents ADD CONSTRAINT contents_brought_over CHECK (old_path IS NULL);
ALTER TABLE queue ADD CONSTRAINT queue_brought_over CHECK (old_path IS NULL AND old_moved IS NULL);
ALTER TABLE contents DROP COLUMN old_path;
ALTER TABLE queue DROP COLUMN old_path, DROP COLUMN old_moved;
