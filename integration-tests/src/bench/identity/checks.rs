//! What every service does for every request: check a token, decide on a right. In this process, without a network.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use gantry_auth::{Auth, CustomRole, Grant, KeySource, Keys, OrgRef, ProjectRef, SpaceRef, TeamRef, Verifier, permissions};
use gantry_kernel::{BindingId, Env, Name, OrgId, ProjectId, Role, RoleId, Scope, SpaceId, TeamId, UserId, Uuid};
use gantry_testkit::Signer;
use jsonwebtoken::jwk::JwkSet;

use crate::bench::Options;
use crate::bench::figure::{Figure, Goal};
use crate::bench::ground::runtime;
use crate::bench::results::Figures;
use crate::bench::rounds::{interleaved, quantile_ms};

pub const FIGURES: &[&str] = &["token-check-cached", "token-check", "rights-decision"];
const ISSUER: &str = "https://gantry.bench";
/// Tokens in use at the same time in a busy service.
const IN_USE: usize = 10_000;
/// Tokens that nobody has seen.
const UNSEEN: usize = 60_000;
const USERS: u128 = 10_000;
const ROLES: u128 = 200;
const BINDINGS: u128 = 100_000;
const ORGS: u128 = 100;
const TEAMS: u128 = 500;
const DECISIONS: u128 = 200_000;

pub fn measure(options: &Options) -> Result<Vec<Figure>> {
    let runtime = runtime()?;
    let env = Env::system();
    let mut figures = Figures::default();
    let wants = |figure| options.wants("checks", figure);
    if wants("token-check-cached") || wants("token-check") {
        let signer = Signer::new();
        let tokens: Vec<String> = (0..UNSEEN).map(|_| signer.user(&env, ISSUER, UserId(env.uuid()), "ada")).collect();
        if wants("token-check-cached") {
            let verifier = verifier(&signer);
            let rounds = (0..options.rounds).map(|_| runtime.block_on(cached(&verifier, &env, &tokens[..IN_USE], options.round())));
            figures.push(Figure::at_most("token-check-cached", "us per check, 10,000 tokens in use", rounds.collect::<Result<_>>()?, 1.0));
        }
        if wants("token-check") {
            let ours = || runtime.block_on(unseen(&verifier(&signer), &env, &tokens, options.round() / 2));
            let rounds = interleaved(options.rounds, ours, || openssl_verifies(options.round() / 2))?;
            figures.push(Figure::compared("token-check", "checks/s of unseen tokens", "openssl speed ecdsap256, verify", rounds, Goal::AtLeast(0.8)));
        }
    }
    if wants("rights-decision") {
        let auth = world(verifier(&Signer::new()));
        let rounds = (0..options.rounds).map(|round| decisions(&auth, round as u128)).collect::<Result<_>>()?;
        figures.push(Figure::at_most("rights-decision", "us p99, 10,000 users, 200 roles, 100,000 bindings", rounds, 20.0));
    }
    figures.all()
}

/// All keys are known from the beginning.
struct NoSource;

#[async_trait]
impl KeySource for NoSource {
    async fn fetch(&self) -> Result<JwkSet> {
        anyhow::bail!("there are no other keys")
    }
}

fn verifier(signer: &Signer) -> Verifier {
    let keys = Keys::new(Arc::new(NoSource));
    keys.set(&signer.set);
    Verifier::new(keys, ISSUER)
}

/// Microseconds per check of tokens that were seen before.
#[allow(clippy::cast_precision_loss, reason = "a count")]
async fn cached(verifier: &Verifier, env: &Env, tokens: &[String], how_long: Duration) -> Result<f64> {
    let now = env.now();
    for token in tokens {
        verifier.access(token, now).await?;
    }
    let (started, mut checks) = (Instant::now(), 0u64);
    while started.elapsed() < how_long {
        // In an order that no processor guesses.
        for n in 0..1_000 {
            verifier.access(&tokens[(n * 7_919) % tokens.len()], now).await?;
        }
        checks += 1_000;
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / checks as f64)
}

#[allow(clippy::cast_precision_loss, reason = "a count")]
async fn unseen(verifier: &Verifier, env: &Env, tokens: &[String], how_long: Duration) -> Result<f64> {
    let (started, now, mut checks) = (Instant::now(), env.now(), 0u64);
    for token in tokens {
        verifier.access(token, now).await?;
        checks += 1;
        if started.elapsed() >= how_long {
            break;
        }
    }
    Ok(checks as f64 / started.elapsed().as_secs_f64())
}

/// What `openssl speed` says of verifying by P-256, per second on one core.
fn openssl_verifies(how_long: Duration) -> Result<f64> {
    let seconds = how_long.as_secs().max(1).to_string();
    let output = Command::new("openssl").args(["speed", "-seconds", &seconds, "ecdsap256"]).output().context("cannot run openssl")?;
    ensure!(output.status.success(), "openssl speed: {}", String::from_utf8_lossy(&output.stderr));
    verify_rate(&String::from_utf8_lossy(&output.stdout)).context("openssl speed said no rate of verifying")
}

/// The last column of ` 256 bits ecdsa (nistp256)   0.0000s   0.0001s  45678.9  16543.2`.
fn verify_rate(text: &str) -> Option<f64> {
    text.lines().find(|l| l.contains("ecdsa (nistp256)"))?.split_whitespace().last()?.parse().ok()
}

/// Organisations with projects and spaces, nested teams, roles of their own, and bindings all over, some conditional on nothing
/// but their place.
fn world(verifier: Verifier) -> Auth {
    let auth = Auth::of_service(verifier, "scheduler");
    auth.write(|rights| {
        for o in 0..ORGS {
            let org = OrgRef { id: OrgId(id(1, o)), name: name("org", o) };
            rights.put_org(org.clone());
            for p in 0..10 {
                let project = ProjectRef { org: org.clone(), id: ProjectId(id(2, o * 10 + p)), name: name("project", p), public: false };
                rights.put_project(project.clone());
                for s in 0..3 {
                    rights.put_space(SpaceRef { project: project.clone(), id: SpaceId(id(3, (o * 10 + p) * 3 + s)), name: name("space", s) });
                }
            }
        }
        for t in 0..TEAMS {
            // Every third one lies in the one before it.
            let parent = (t % 3 == 2).then(|| TeamId(id(4, t - 1)));
            rights.put_team(TeamRef { id: TeamId(id(4, t)), org: OrgId(id(1, t / 5)), name: name("team", t % 5), parent });
        }
        for r in 0..ROLES {
            let permissions = permissions::PermissionSet::new(permissions::ALL.iter().skip((r % 20) as usize).step_by(3).map(|p| p.name));
            rights.put_role(CustomRole { id: RoleId(id(5, r)), org: None, name: name("role", r), permissions });
        }
        for u in 0..USERS {
            for t in [u % TEAMS, (u * 31) % TEAMS] {
                rights.set_member(TeamId(id(4, t)), user(u), true);
            }
        }
        for b in 0..BINDINGS {
            // A tenth is for teams; so much is given to each.
            let subject = if b % 10 == 0 { format!("team:{}", TeamId(id(4, b / 10 % TEAMS))) } else { user(b * 17 % USERS) };
            let role = match b % 4 {
                0 => Role::Viewer.into(),
                1 => Role::Editor.into(),
                _ => gantry_contract::identity::RoleRef::Custom(RoleId(id(5, b % ROLES))),
            };
            rights.put_binding(BindingId(id(6, b)), Grant { subject, role, scope: scope(b * 13), condition: None });
        }
    });
    auth
}

fn id(kind: u128, n: u128) -> Uuid {
    Uuid::from_u128((kind << 64) | n)
}

fn name(kind: &str, n: u128) -> Name {
    Name::parse(&format!("{kind}-{n}")).expect("a name")
}

fn user(n: u128) -> String {
    format!("user:{}", UserId(id(7, n)))
}

fn scope(n: u128) -> Scope {
    match n % 4 {
        0 => Scope::Org(OrgId(id(1, n / 4 % ORGS))),
        1 | 2 => Scope::Project(ProjectId(id(2, n / 4 % (ORGS * 10)))),
        _ => Scope::Space(SpaceId(id(3, n / 4 % (ORGS * 30)))),
    }
}

/// The 99th percentile in microseconds; each decision with the refusal's text where it refuses.
fn decisions(auth: &Auth, round: u128) -> Result<f64> {
    let (mut times, mut allowed) = (Vec::with_capacity(DECISIONS as usize), 0);
    for n in 0..DECISIONS {
        let (subject, scope) = (user((n * 7_919 + round) % USERS), scope(n * 104_729));
        let started = Instant::now();
        let decided = auth.require_subject(&subject, Role::Editor, scope);
        times.push(started.elapsed());
        allowed += u32::from(decided.is_ok());
    }
    ensure!(allowed > 0 && u128::from(allowed) < DECISIONS, "some are allowed, some are not: {allowed}");
    Ok(quantile_ms(times, 0.99) * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssls_rate_of_verifying_is_read() {
        let text = "                              sign    verify    sign/s verify/s\n 256 bits ecdsa (nistp256)   0.0000s   0.0001s  45678.9  16543.2\n";
        assert_eq!(verify_rate(text), Some(16_543.2));
        assert_eq!(verify_rate("nothing"), None);
    }
}
