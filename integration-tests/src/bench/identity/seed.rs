//! Years of use in minutes: people and organisations as events that the service projects by itself, and a long past as rows
//! written by SQL beside it. The past's hashes are no chain (a chain has no shortcut): what reads the log here never looks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use gantry_contract::identity::{BindingEvent, OrgEvent, UserEvent};
use gantry_es::{EventData, Meta, StreamId};
use gantry_es_pg::{Append, Db, Keyring, Log, Settings, StreamWrite};
use gantry_kernel::{BindingId, Env, Name, OrgId, ProjectId, Role, Scope, UserId, Uuid};
use sqlx::AssertSqlSafe;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::people::PASSWORD;
use crate::bench::ground::Ground;

/// Events of one append, and appends at once.
const TOGETHER: usize = 100;
const AT_ONCE: usize = 8;
/// Rows of one statement of the past.
const ROWS: i64 = 500_000;

/// Identity's database, opened beside a service that does not run.
pub struct Books {
    db: Db,
    log: Log,
    keyring: Keyring,
    env: Env,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Books {
    pub async fn open(ground: &Ground) -> Result<Self> {
        let platform = ground.platform();
        // Nobody waits for the disk here; what is measured later is durable again.
        let url = format!("{}?options=-csynchronous_commit%3Doff", platform.database_url.expose());
        let settings = Settings { url, schema: platform.schema("identity"), max_connections: 12 };
        let (env, cancel, tasks) = (Env::system(), CancellationToken::new(), TaskTracker::new());
        let db = Db::open(&settings, &[]).await?;
        let log = Log::open(db.clone(), "identity", env.clone(), &cancel, &tasks).await?;
        let keyring = Keyring::new(db.clone(), env.clone(), &std::fs::read(&platform.master_key_file)?)?;
        Ok(Self { db, log, keyring, env, cancel, tasks })
    }

    pub async fn close(self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.db.close().await;
    }

    /// Registers `person<n>` with [`PASSWORD`] for each number.
    pub async fn register(&self, numbers: std::ops::Range<usize>) -> Result<()> {
        let hash = {
            use argon2::password_hash::PasswordHasher;
            argon2::Argon2::default().hash_password(PASSWORD.as_bytes()).map_err(|e| anyhow::anyhow!("argon2: {e}"))?.to_string()
        };
        let chunks: Vec<_> = numbers.clone().step_by(TOGETHER).map(|from| from..(from + TOGETHER).min(numbers.end)).collect();
        stream::iter(chunks)
            .map(|chunk| {
                let hash = &hash;
                async move {
                    let mut writes = Vec::with_capacity(TOGETHER);
                    for n in chunk {
                        writes.push(self.registered(n, hash).await?);
                    }
                    self.log.append(Append { writes, claims: Vec::new(), meta: Meta::system() }).await?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }

    async fn registered(&self, n: usize, hash: &str) -> Result<StreamWrite> {
        let user = UserId(self.env.uuid());
        let subject = format!("user:{user}");
        let seal = async |text: &str| self.keyring.seal(&subject, text).await;
        let event = UserEvent::Registered {
            user,
            username: seal(&format!("person{n}")).await?,
            email: seal(&format!("person{n}@example.org")).await?,
            // Some share a first name, as people do.
            display_name: seal(&format!("{} Number{n}", ["Ada", "Bob", "Cleo", "Dan", "Eve"][n % 5])).await?,
            password_hash: Some(seal(hash).await?),
            by_admin: true,
            must_change_password: false,
        };
        Ok(StreamWrite { stream: StreamId::of::<UserEvent>(user), expected: None, events: vec![event.encode()] })
    }

    /// Organisations `org-<n>`, each with its owner, a project and the owner's right.
    pub async fn found(&self, count: usize) -> Result<()> {
        let owners: Vec<Uuid> = sqlx::query_scalar("select id from users order by id limit 1000").fetch_all(&self.db.pool).await?;
        ensure!(!owners.is_empty(), "somebody has to own them");
        stream::iter(0..count)
            .map(|n| {
                let owner = UserId(owners[n % owners.len()]);
                async move {
                    let (org, project, binding) = (OrgId(self.env.uuid()), ProjectId(self.env.uuid()), BindingId(self.env.uuid()));
                    let (org_name, name) = (Name::parse(&format!("org-{n}"))?, Name::parse("shop")?);
                    let events = [
                        OrgEvent::Created { org, name: org_name.clone(), display_name: format!("Organisation {n}"), owner },
                        OrgEvent::MemberAdded { org, user: owner },
                        OrgEvent::ProjectCreated { org, org_name, project, name, public: false },
                    ];
                    let granted =
                        BindingEvent::Granted { binding, subject: format!("user:{owner}"), role: Role::Admin.into(), scope: Scope::Org(org), condition: None };
                    let writes = vec![
                        StreamWrite { stream: StreamId::of::<OrgEvent>(org), expected: None, events: events.iter().map(EventData::encode).collect() },
                        StreamWrite { stream: StreamId::of::<BindingEvent>(binding), expected: None, events: vec![granted.encode()] },
                    ];
                    self.log.append(Append { writes, claims: Vec::new(), meta: Meta::system().tenant(org) }).await?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(64)
            .try_collect::<()>()
            .await
    }

    /// Browser sessions of all people: the cookie of `person` number n in the order of their ids is `gs_bench<n>`.
    pub async fn sessions(&self) -> Result<()> {
        let sql = "insert into sessions (id, user_id, secret_hash, created_at, last_seen_at, auth_time, amr, expires_at, from_addr, user_agent)
                   select gen_random_uuid(), id, sha256(convert_to('gs_bench' || (row_number() over (order by id) - 1), 'UTF8')), now(), now(), now(), 'pwd',
                          now() + interval '10 hours', '10.0.0.9', 'bench' from users";
        sqlx::query(sql).execute(&self.db.pool).await?;
        Ok(())
    }

    /// Fills the log up to `events` with changes of people's profiles that everything has already taken in.
    pub async fn past(&self, events: i64) -> Result<()> {
        let (people, head): (i64, i64) = sqlx::query_as("select (select count(*) from users), position from log_head").fetch_one(&self.db.pool).await?;
        let each = ((events - head) / people).max(1);
        let at_once = (ROWS / each).max(1);
        let started = Instant::now();
        let mut done = 0;
        while done < people {
            let sql = format!(
                "with them as (select id, display_name, row_number() over (order by id) - 1 as n from (select id, display_name from users order by id offset {done} limit {at_once}) u)
                 insert into events (position, stream, version, event_id, kind, kind_version, data, actor, tenant, from_addr, command_id, trace, at, hash)
                 select {head} + ({done} + n) * {each} + k, 'user-' || id, k + 1, gen_random_uuid(), 'user.profile-changed', 1,
                        json_build_object('user', id, 'email', null, 'display_name', display_name), 'user:' || id, null, '10.0.0.9', null, null, now(),
                        sha256(convert_to(id || ' ' || k, 'UTF8'))
                 from them cross join generate_series(1, {each}) k order by 1"
            );
            sqlx::query(AssertSqlSafe(sql)).execute(&self.db.pool).await?;
            done += at_once;
            eprintln!("bench:   {} events after {:.0} s", head + done.min(people) * each, started.elapsed().as_secs_f64());
        }
        let sql = format!(
            "update log_head set (position, hash) = (select position, hash from events order by position desc limit 1);
             update projections set position = (select position from log_head);
             update users set version = {each} + 1"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.db.pool).await?;
        sqlx::raw_sql("analyze").execute(&self.db.admin).await?;
        Ok(())
    }

    /// Tells the bus' copy of the log that it has all of the past: nobody listens to it here.
    pub async fn published(&self, ground: &Ground) -> Result<()> {
        let platform = ground.platform();
        let bus = gantry_bus::Bus::connect(platform.nats_url.expose(), &platform.prefix, "bench").await?;
        let last = self.log.read(sqlx::query_scalar::<_, i64>("select position - 1 from log_head").fetch_one(&self.db.pool).await?, 1).await?;
        let last = last.first().context("the log has events")?;
        bus.event_stream("identity").await?;
        let body = last.data.as_str().to_owned();
        let stored = bus.js.publish_with_headers(gantry_bus::subject_of(&bus.prefix, last), gantry_bus::headers_of(last), body.into()).await?;
        stored.await?;
        Ok(())
    }

    /// Waits until the running service's projections have taken in what was appended.
    pub async fn projected(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            let behind: i64 = sqlx::query_scalar("select (select position from log_head) - min(position) from projections").fetch_one(&self.db.pool).await?;
            if behind == 0 {
                return Ok(());
            }
            ensure!(started.elapsed() < Duration::from_secs(1_200), "the projections are {behind} events behind");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
