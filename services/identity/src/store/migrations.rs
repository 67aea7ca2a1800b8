//! Tables that are no projections. Forward only: never edit a merged entry, add one.
//! Tokens and codes are kept as SHA-256 hashes: who reads the table cannot use them.

pub const ALL: &[(&str, &str)] = &[
    ("identity-0001-oauth", OAUTH),
    ("identity-0002-factors", FACTORS),
    ("identity-0003-links", LINKS),
    ("identity-0100-upstreams", crate::store::upstreams::TABLES),
    crate::store::people_tables::PEOPLE,
    ("identity-0003-clients", CLIENTS),
    crate::store::scim::TABLES,
    crate::store::facts::TABLES,
    ("identity-0400-configuration-sets", crate::store::config_sets::TABLES),
    ("identity-0500-logos", crate::store::branding::TABLES),
    ("identity-0510-upstream-tokens", crate::store::upstream_tokens::TABLES),
    ("identity-0520-person-certificates", crate::store::person_certificates::TABLES),
    ("identity-0530-upstream-tokens-asked", crate::store::upstream_tokens::ASKED),
    ("identity-0540-revocation-lists", crate::store::revocation_lists::TABLES),
    ("identity-0550-session-certificates", crate::store::session_certificates::TABLES),
    ("identity-0560-followed-removals", crate::store::nodes::FOLLOWED),
    ("identity-0570-offline-families", crate::store::refresh::OFFLINE),
    ("identity-0580-sign-ins-ended", crate::store::sessions::ENDED),
    ("identity-0590-scim-attributes", crate::store::scim::ATTRIBUTES),
];

const OAUTH: &str = "create table secrets (name text primary key, sealed text not null, created_at timestamptz not null default now());
    create table signing_keys (
        kid text primary key, public_jwk text not null, private_sealed text not null,
        created_at timestamptz not null, active_at timestamptz not null
    );
    create table sessions (
        id uuid primary key, user_id uuid not null, secret_hash bytea not null unique, created_at timestamptz not null,
        last_seen_at timestamptz not null, auth_time timestamptz not null, amr text not null, expires_at timestamptz not null,
        ended_at timestamptz, from_addr text not null, user_agent text not null
    );
    create index sessions_user on sessions (user_id);
    create index sessions_expiry on sessions (expires_at);
    create table families (
        id uuid primary key, client_id text not null, user_id uuid not null, session_id uuid, scope text not null,
        auth_time timestamptz not null, amr text not null, created_at timestamptz not null, expires_at timestamptz not null,
        ended_at timestamptz, end_reason text
    );
    create index families_user on families (user_id);
    create index families_session on families (session_id);
    create index families_expiry on families (expires_at);
    create table codes (
        hash bytea primary key, family uuid not null, client_id text not null, user_id uuid not null, session_id uuid not null,
        redirect_uri text not null, challenge text not null, nonce text, scope text not null, auth_time timestamptz not null,
        amr text not null, expires_at timestamptz not null, used_at timestamptz
    );
    create index codes_expiry on codes (expires_at);
    create table refresh_tokens (
        hash bytea primary key, family uuid not null references families (id) on delete cascade, successor bytea,
        expires_at timestamptz not null, used_at timestamptz
    );
    create index refresh_tokens_family on refresh_tokens (family);
    create table device_codes (
        hash bytea primary key, user_code text not null unique, client_id text not null, scope text not null,
        state text not null default 'pending', user_id uuid, session_id uuid, auth_time timestamptz, amr text,
        created_at timestamptz not null, expires_at timestamptz not null, interval_secs int not null, last_poll timestamptz
    );
    create index device_codes_expiry on device_codes (expires_at);
    create table personal_tokens (
        id uuid primary key, user_id uuid not null, name text not null, hash bytea not null unique, hint text not null,
        scope text not null, created_at timestamptz not null, expires_at timestamptz, last_used_at timestamptz, revoked_at timestamptz
    );
    create index personal_tokens_user on personal_tokens (user_id);
    create table registrations (
        hash bytea primary key, username_key text not null, email_key text not null, sealed text not null,
        created_at timestamptz not null, expires_at timestamptz not null
    );
    create table facts (
        id uuid primary key, at timestamptz not null, actor text not null, action text not null, object text not null,
        result text not null, reason text not null, from_addr text not null
    );
    create index facts_at on facts (at);
    do $$ begin execute format('revoke update, delete, truncate on facts from %I', 'gantry_' || current_schema()); end $$;";

/// What changes with each use of a factor, and the devices a person has signed in from (the hash of their cookie).
const FACTORS: &str = "create table factor_uses (factor uuid primary key, user_id uuid not null, counter bigint not null, last_used_at timestamptz not null);
    create index factor_uses_user on factor_uses (user_id);
    create table recovery_uses (user_id uuid not null, code text not null, used_at timestamptz not null, primary key (user_id, code));
    create table known_devices (
        user_id uuid not null, hash bytea not null, first_seen_at timestamptz not null, last_seen_at timestamptz not null,
        user_agent text not null, from_addr text not null, primary key (user_id, hash)
    );";

/// Keys of several algorithms, consents, pushed requests, what a grant was asked for and bound to, self-registration of clients.
const CLIENTS: &str = "alter table signing_keys add column alg text not null default 'ES256';
    alter table codes add column claims text not null default '{}', add column dpop_jkt text;
    alter table families add column claims text not null default '{}', add column cnf text, add column act text;
    create index families_client on families (client_id);
    create table consents (user_id uuid not null, client_id text not null, scope text not null, granted_at timestamptz not null, primary key (user_id, client_id));
    create index consents_client on consents (client_id);
    create table pushed_requests (hash bytea primary key, client_id text not null, parameters jsonb not null, expires_at timestamptz not null);
    create index pushed_requests_expiry on pushed_requests (expires_at);
    create table initial_access_tokens (
        id uuid primary key, hash bytea not null unique, org uuid, created_by text not null, created_at timestamptz not null,
        expires_at timestamptz not null, uses_left int not null
    );
    create table registration_access_tokens (client_id text primary key, hash bytea not null);
    create table session_clients (
        session_id uuid not null references sessions (id) on delete cascade, client_id text not null, primary key (session_id, client_id)
    );
    create table revoked_tokens (jti text primary key, expires_at timestamptz not null);
    create index revoked_tokens_expiry on revoked_tokens (expires_at);
    create table impersonations (user_id uuid not null, by_user uuid not null, expires_at timestamptz not null, primary key (user_id, by_user));
    create table trusted_issuers (
        id uuid primary key, org uuid, name text not null, settings jsonb not null, created_at timestamptz not null, unique (org, name)
    );";

/// Links that were mailed, and invitations: hashes of their tokens.
const LINKS: &str = "create table mail_links (
        hash bytea primary key, purpose text not null, user_id uuid not null, sealed text not null, created_at timestamptz not null,
        expires_at timestamptz not null
    );
    create index mail_links_user on mail_links (user_id);
    create table invitations (
        id uuid primary key, hash bytea not null unique, org uuid not null, sealed text not null, role text not null, invited_by text not null,
        created_at timestamptz not null, expires_at timestamptz not null, used_at timestamptz
    );
    create index invitations_org on invitations (org);";
