//! Tables and migrations.

/// Numbers of the runs of a project: drawn, not projected, so that two never get the same one.
const RUN_NUMBERS: &str = "create table run_numbers (project_id uuid primary key, last bigint not null)";

/// Forward only; never edit one that has been merged.
pub const MIGRATIONS: &[(&str, &str)] = &[("0001_run_numbers", RUN_NUMBERS)];

pub const TABLES: &[&str] = &["repositories", "runs", "run_steps", "run_artifacts"];

pub const DDL: &str = "
create table repositories (
    project_id uuid not null, name text not null, org_id uuid not null, org text not null, project text not null,
    created_at timestamptz not null, version bigint not null, primary key (project_id, name));
create table runs (
    id uuid primary key, org_id uuid not null, project_id uuid not null, org text not null, project text not null,
    repository text not null, reference text not null, commit_id text not null, message text not null, trigger text not null,
    number bigint not null, subject text not null, state text not null, reason text not null default '',
    created_at timestamptz not null, started_at timestamptz, finished_at timestamptz, version bigint not null);
create index runs_by_project on runs (project_id, number desc);
create index runs_active on runs (created_at) where state in ('queued', 'running', 'waiting');
create table run_steps (
    run_id uuid not null, step text not null, ordinal int not null, stage text not null, kind text not null, state text not null,
    exit_code int, reason text not null default '', image text, approved_by text, tests int, tests_failed int, tests_skipped int,
    started_at timestamptz, finished_at timestamptz, duration_ms bigint, primary key (run_id, step));
create table run_artifacts (
    run_id uuid not null, name text not null, size_bytes bigint not null, digest text not null, media_type text not null,
    primary key (run_id, name));
";
