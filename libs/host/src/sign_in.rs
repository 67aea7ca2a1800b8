//! Whether the sign-in of somebody for whom something goes on (a session in an instance, a followed log, a watched list) still stands.
//! A token is looked at once, when it is shown; what goes on longer asks identity again and again, once for all streams of a sign-in.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use gantry_auth::Caller;
use gantry_contract::proto::identity::StandingRequest;
use gantry_contract::proto::identity::tokens_client::TokensClient;
use gantry_kernel::{OffsetDateTime, Problem};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::context::Host;

/// How often it is asked for streams of one sign-in.
const LOOK: Duration = Duration::from_secs(10);
/// As long as it may be unknown. That is short: whoever stays longer has kept what may have been taken away.
pub const UNKNOWN: Duration = Duration::from_secs(120);

/// Asks once.
///
/// # Errors
/// When identity cannot be asked: it is not known then.
pub async fn stands(host: &Host, caller: &Caller) -> Result<bool, Problem> {
    if lent_is_over(caller, host.env.now()) {
        return Ok(false);
    }
    let asked = StandingRequest {
        token_id: caller.token.clone(),
        session: caller.session.clone().unwrap_or_default(),
        subject: caller.subject.clone(),
        client: caller.client.clone(),
    };
    let mut request = tonic::Request::new(asked);
    request.set_timeout(Duration::from_secs(3));
    Ok(TokensClient::new(host.channel("identity")?).standing(request).await?.into_inner().stands)
}

/// Somebody else's rights are lent for as long as the token says; nothing else ends them.
fn lent_is_over(caller: &Caller, now: OffsetDateTime) -> bool {
    caller.acting.is_some() && caller.session.is_none() && now >= caller.until
}

/// Why it has ended, once it has.
type Said = Option<&'static str>;

/// All that it depends on whether a sign-in stands.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    token: String,
    session: Option<String>,
    subject: String,
    client: String,
    lent_until: Option<OffsetDateTime>,
}

impl Key {
    fn of(caller: &Caller) -> Self {
        Self {
            token: caller.token.clone(),
            session: caller.session.clone(),
            subject: caller.subject.clone(),
            client: caller.client.clone(),
            lent_until: caller.acting.as_ref().map(|_| caller.until),
        }
    }
}

/// The sign-ins that a service's process looks at, each with where it is told that it has ended.
#[derive(Clone, Default)]
pub(crate) struct Looks(Arc<Mutex<HashMap<Key, Weak<watch::Sender<Said>>>>>);

impl Looks {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Weak<watch::Sender<Said>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to hear of it; and where to tell it, for whoever is the first and has to look.
    fn join(&self, key: &Key) -> (watch::Receiver<Said>, Option<Arc<watch::Sender<Said>>>) {
        let mut all = self.lock();
        if let Some(said) = all.get(key).and_then(Weak::upgrade) {
            return (said.subscribe(), None);
        }
        let (said, heard) = watch::channel(None);
        let said = Arc::new(said);
        all.insert(key.clone(), Arc::downgrade(&said));
        (heard, Some(said))
    }

    /// True: nobody listens any more, and whoever comes next has to look.
    fn leave(&self, key: &Key, said: &watch::Sender<Said>) -> bool {
        // Counted under the lock: nobody joins in between.
        let mut all = self.lock();
        let left = said.receiver_count() == 0;
        if left {
            all.remove(key);
        }
        left
    }

    fn end(&self, key: &Key, said: &watch::Sender<Said>, why: &'static str) {
        self.lock().remove(key);
        said.send_replace(Some(why));
    }
}

/// Looked at beside a stream until it is dropped.
pub struct SignIn(watch::Receiver<Said>);

impl SignIn {
    pub fn followed(host: &Host, caller: &Caller) -> Self {
        let key = Key::of(caller);
        let (heard, first) = host.sign_ins.join(&key);
        let Some(said) = first else { return Self(heard) };
        let (host, caller, tracker) = (host.clone(), caller.clone(), host.tracker.clone());
        tracker.spawn(async move {
            let mut known = Instant::now();
            let mut next = known + LOOK;
            loop {
                tokio::select! {
                    () = host.cancel.cancelled() => return,
                    () = said.closed() => {
                        if host.sign_ins.leave(&key, &said) {
                            return;
                        }
                        continue;
                    }
                    () = tokio::time::sleep_until(next) => next = Instant::now() + LOOK,
                }
                let looked = tokio::select! {
                    () = host.cancel.cancelled() => return,
                    looked = stands(&host, &caller) => looked,
                };
                if let Err(problem) = &looked {
                    tracing::debug!(error = %problem.chain(), "whether a sign-in still stands cannot be asked");
                }
                if let Some(why) = refused(looked.ok(), &mut known, Instant::now()) {
                    host.sign_ins.end(&key, &said, why);
                    return;
                }
            }
        });
        Self(heard)
    }

    /// What is to be told once it has ended.
    pub fn over(&self) -> Option<Problem> {
        self.0.borrow().map(Problem::unauthenticated)
    }

    /// The same as soon as it has; never, as long as it stands.
    pub async fn ended(&mut self) -> Problem {
        let why = self.0.wait_for(Option::is_some).await.ok().and_then(|why| *why);
        match why {
            Some(why) => Problem::unauthenticated(why),
            // The platform stops, and ends the stream by itself.
            None => pending().await,
        }
    }
}

/// `stands`: none if nobody can say. `known`: when it was last certain.
fn refused(stands: Option<bool>, known: &mut Instant, now: Instant) -> Option<&'static str> {
    match stands {
        Some(true) => {
            *known = now;
            None
        }
        None if now.duration_since(*known) < UNKNOWN => None,
        None => Some("it is not known any more whether the sign-in still stands: open it again when the platform is well"),
        Some(false) => Some("the sign-in with which it was opened has ended: sign in again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_outlives_a_short_time_without_knowledge_and_no_sign_in_that_has_ended() {
        let began = Instant::now();
        let (mut known, second) = (began, Duration::from_secs(1));
        assert_eq!(refused(None, &mut known, began + UNKNOWN - second), None);
        assert_eq!(refused(Some(true), &mut known, began + UNKNOWN), None);
        assert_eq!(refused(None, &mut known, began + UNKNOWN + UNKNOWN - second), None);
        assert!(refused(None, &mut known, began + UNKNOWN + UNKNOWN).is_some_and(|why| why.contains("not known")));
        assert!(refused(Some(false), &mut known, began).is_some_and(|why| why.contains("ended")));
    }

    fn key(token: &str) -> Key {
        Key { token: token.into(), session: Some("s".into()), subject: "user:1".into(), client: "console".into(), lent_until: None }
    }

    #[test]
    fn all_streams_of_a_sign_in_are_looked_at_once_and_as_long_as_one_is_there() {
        let looks = Looks::default();
        let (one, first) = looks.join(&key("a"));
        let first = first.unwrap();
        let (two, second) = looks.join(&key("a"));
        assert!(second.is_none() && looks.join(&key("b")).1.is_some(), "another token is another sign-in");
        drop(one);
        assert!(!looks.leave(&key("a"), &first), "the second is still there");
        drop(two);
        assert!(looks.leave(&key("a"), &first));
        assert!(looks.join(&key("a")).1.is_some(), "whoever comes next has to look");
    }

    #[tokio::test]
    async fn all_streams_are_told_that_their_sign_in_has_ended_and_later_ones_look_anew() {
        let looks = Looks::default();
        let (one, first) = looks.join(&key("a"));
        let (two, _) = looks.join(&key("a"));
        looks.end(&key("a"), &first.unwrap(), "it has ended");
        assert_eq!((SignIn(one).ended().await.detail, SignIn(two).ended().await.detail), ("it has ended".to_owned(), "it has ended".to_owned()));
        let (three, again) = looks.join(&key("a"));
        assert!(again.is_some() && SignIn(three).over().is_none());
    }

    #[tokio::test]
    async fn whoever_waits_is_told_why_and_what_stands_never_ends() {
        let (said, heard) = watch::channel(None);
        let mut sign_in = SignIn(heard);
        assert!(sign_in.over().is_none());
        assert!(tokio::time::timeout(Duration::from_millis(20), sign_in.ended()).await.is_err());
        said.send_replace(Some("it has ended"));
        assert_eq!(sign_in.over().map(|p| p.detail), Some("it has ended".to_owned()));
        assert_eq!(sign_in.ended().await.detail, "it has ended");
    }
}
