-- Who comes from elsewhere: what another issuer calls somebody leads to one account, for good.

-- Compared byte by byte, whatever the database's language.
CREATE TABLE external_identities (
    issuer TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    account_id UUID NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    linked_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX external_identities_by_account ON external_identities (account_id);
