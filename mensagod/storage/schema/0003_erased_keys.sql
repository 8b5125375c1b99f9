-- Private keys of the organization are kept only as long as something is to be done with them (spec 03): so who comes
-- by the database and organization.key later cannot sign with those of before.

ALTER TABLE organization_keys
    -- As before; null once it is erased.
    ALTER COLUMN private DROP NOT NULL;

UPDATE organization_keys SET private = NULL
    WHERE status = 'revoked'
       OR (status = 'previous' AND (purpose = 'signing' OR retired <= now() - interval '30 days'));

ALTER TABLE organization_keys
    -- Only current signing keys sign; only encryption keys that were not revoked open. Those that were rotated out
    -- are erased after 30 days, which no constraint can say.
    ADD CONSTRAINT organization_keys_erased CHECK (
        CASE WHEN status = 'current' THEN private IS NOT NULL
             WHEN status = 'revoked' OR purpose = 'signing' THEN private IS NULL
             ELSE true END);
