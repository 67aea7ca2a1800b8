//! Tables of service account keys, provisioning and node certificates: contents that are no events.

pub const PEOPLE: (&str, &str) = (
    "identity-0010-people",
    "create table robot_keys (
        id uuid primary key, robot uuid not null, name text not null, hint text not null, hash bytea not null unique, created_by text not null,
        created_at timestamptz not null, expires_at timestamptz not null, last_used_at timestamptz, revoked_at timestamptz
    );
    create index robot_keys_robot on robot_keys (robot);
    create table scim_tokens (
        id uuid primary key, org uuid not null, name text not null, hint text not null, hash bytea not null unique, created_by text not null,
        created_at timestamptz not null, expires_at timestamptz not null, last_used_at timestamptz, revoked_at timestamptz
    );
    create index scim_tokens_org on scim_tokens (org);
    create table scim_links (
        org uuid not null, kind text not null, id uuid not null, external_key text, external_id text, managed boolean not null,
        created_at timestamptz not null, changed_at timestamptz not null, primary key (org, kind, id)
    );
    create unique index scim_links_external on scim_links (org, kind, external_key) where external_key is not null;
    create table node_tokens (
        id uuid primary key, node text, hint text not null, hash bytea not null unique, created_by text not null, created_at timestamptz not null,
        expires_at timestamptz not null, used_at timestamptz, used_by text, revoked_at timestamptz
    );
    create table node_certificates (
        serial text primary key, node text not null, token uuid, issued_at timestamptz not null, expires_at timestamptz not null,
        revoked_at timestamptz, reason text
    );
    create index node_certificates_node on node_certificates (node);",
);
