//! Load, decide, append: one aggregate of type `D`.

use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;

use gantry_es::{Ctx, Decider, DecodeError, EventData, Meta, Recorded, Snapshots, StreamId};
use thiserror::Error;

use crate::append::{Append, AppendError, Claim, StreamWrite};
use crate::at_hand::AtHand;
use crate::log::Log;
use crate::read::Row;
use crate::snapshot::{Draft, Kept};

/// How often a command is decided anew when somebody else was faster. Of N writers of one stream, one wins each round,
/// so the last may need N: this is how many may meet on one aggregate before one of them is told to come back.
const TRIES: usize = 100;

/// Which version the command was meant for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Whatever it is now; decided anew if somebody else was faster.
    #[default]
    Any,
    /// This one (`If-Match`); anything else is stale.
    Version(i64),
}

/// What goes along with a command.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub meta: Meta,
    pub expect: Expect,
    pub claims: Vec<Claim>,
    /// Events of other streams that must happen in the same transaction.
    pub also: Vec<StreamWrite>,
    /// Versions of other streams that the command was decided by. Nothing is appended once one of them has gone on; a command without events
    /// is not checked, for it changes nothing.
    pub given: Vec<(StreamId, i64)>,
}

impl From<Meta> for Options {
    fn from(meta: Meta) -> Self {
        Self { meta, ..Self::default() }
    }
}

#[derive(Clone, Debug)]
pub struct Loaded<S> {
    pub state: S,
    /// 0: there is no such stream.
    pub version: i64,
}

#[derive(Clone, Debug)]
pub struct Executed<S> {
    pub state: S,
    pub version: i64,
    /// Wait for this one to read your own write; 0 if nothing was appended.
    pub position: i64,
    pub events: Vec<Arc<Recorded>>,
    /// The same command id was carried out before; `state` is as it is now.
    pub repeated: bool,
}

#[derive(Debug, Error)]
pub enum ExecuteError<R: std::error::Error + 'static> {
    #[error(transparent)]
    Refused(R),
    #[error("it changed meanwhile: version {actual}, not {expected}")]
    Stale { expected: i64, actual: i64 },
    #[error("the name `{name}` is taken")]
    NameTaken { scope: String, name: String },
    #[error("the log cannot be used")]
    Log(#[source] AppendError),
    #[error("the log cannot be read")]
    Read(#[from] sqlx::Error),
    #[error("the log cannot be understood")]
    Decode(#[from] DecodeError),
}

/// What [`Store::perform`] did.
#[derive(Clone, Debug)]
pub struct Performed {
    pub version: i64,
    /// Wait for this one to read your own write; 0 if nothing was appended.
    pub position: i64,
    pub events: Vec<Arc<Recorded>>,
    /// The same command id was carried out before.
    pub repeated: bool,
}

/// What [`Store::consider`] found.
pub struct Considered<D: Decider> {
    /// As it would be.
    pub state: D::State,
    /// As it is.
    pub version: i64,
    /// What would be appended.
    pub events: Vec<D::Event>,
}

/// The aggregates of type `D` in a log. Cheap to clone.
pub struct Store<D: Decider> {
    log: Log,
    at_hand: Arc<AtHand<D::State>>,
    decider: PhantomData<fn() -> D>,
}

impl<D: Decider> Clone for Store<D> {
    fn clone(&self) -> Self {
        Self { log: self.log.clone(), at_hand: self.at_hand.clone(), decider: PhantomData }
    }
}

impl<D: Decider> Store<D> {
    pub fn new(log: Log) -> Self {
        Self { log, at_hand: Arc::default(), decider: PhantomData }
    }

    pub fn stream(id: impl Display) -> StreamId {
        StreamId::of::<D::Event>(id)
    }

    /// # Errors
    /// When the log cannot be read or understood.
    pub async fn load(&self, id: impl Display) -> Result<Loaded<D::State>, ExecuteError<D::Refusal>> {
        self.load_stream(&Self::stream(id)).await
    }

    async fn load_stream(&self, stream: &StreamId) -> Result<Loaded<D::State>, ExecuteError<D::Refusal>> {
        let Some(snapshots) = D::snapshots() else {
            let rows = self.log.stream_rows(stream, 0).await?;
            return self.replay(Loaded { state: D::State::default(), version: 0 }, rows);
        };
        let (start, rows) = self.since_snapshot(stream, &snapshots).await?;
        let replayed = rows.len();
        let loaded = self.replay(start, rows)?;
        if replayed >= snapshots.every {
            let (state, write) = (loaded.state.clone(), snapshots.write);
            let draft = Draft { stream: stream.clone(), version: loaded.version, shape: snapshots.shape, render: Box::new(move || write(&state)) };
            // No room: somebody will load it again.
            let _ = self.log.drafts.try_send(draft);
        }
        Ok(loaded)
    }

    /// Where to start, and the events from there. The event that a snapshot stands at is read along, to check its seal.
    async fn since_snapshot(&self, stream: &StreamId, snapshots: &Snapshots<D::State>) -> Result<(Loaded<D::State>, Vec<Row>), sqlx::Error> {
        if let Some(kept) = Kept::read(&self.log.db, stream, snapshots.shape).await? {
            let mut rows = self.log.stream_rows(stream, kept.version - 1).await?;
            let belongs = rows.first().is_some_and(|row| row.version == kept.version && kept.belongs_to(&row.hash, snapshots.shape));
            match (snapshots.read)(&kept.state) {
                Ok(state) if belongs => {
                    rows.remove(0);
                    return Ok((Loaded { state, version: kept.version }, rows));
                }
                _ => tracing::warn!(%stream, version = kept.version, "a snapshot is not of this history; the events are read instead"),
            }
        }
        Ok((Loaded { state: D::State::default(), version: 0 }, self.log.stream_rows(stream, 0).await?))
    }

    fn replay(&self, mut loaded: Loaded<D::State>, rows: Vec<Row>) -> Result<Loaded<D::State>, ExecuteError<D::Refusal>> {
        for row in rows {
            let recorded = row.into_recorded(&self.log.origin)?;
            loaded.state = D::evolve(loaded.state, &recorded.decode::<D::Event>()?);
            loaded.version = recorded.version;
        }
        Ok(loaded)
    }

    /// Decides `command` on the present state and appends what follows.
    ///
    /// # Errors
    /// The decider's refusal, a version conflict, a taken name, or a fault of the log.
    pub async fn execute(&self, id: impl Display, command: D::Command, options: impl Into<Options>) -> Result<Executed<D::State>, ExecuteError<D::Refusal>>
    where
        D::Command: Clone,
    {
        self.run(&Self::stream(id), command, options.into(), None).await
    }

    /// The same for whoever does not need the state: the one that the last command here left is tried first, so that mostly nothing of
    /// the history is read. Nothing is refused, and nothing found to be done already, by what may be old.
    ///
    /// # Errors
    /// As [`Store::execute`].
    pub async fn perform(&self, id: impl Display, command: D::Command, options: impl Into<Options>) -> Result<Performed, ExecuteError<D::Refusal>>
    where
        D::Command: Clone,
    {
        let stream = Self::stream(id);
        let at_hand = self.at_hand.take(&stream);
        let Executed { state, version, position, events, repeated } = self.run(&stream, command, options.into(), at_hand).await?;
        self.at_hand.put(stream, Loaded { state, version });
        Ok(Performed { version, position, events, repeated })
    }

    /// What [`Store::execute`] would do now: the same decision, with the same claims looked at, and nothing is appended.
    ///
    /// # Errors
    /// As [`Store::execute`]; at `also` and `given` it does not look.
    pub async fn consider(&self, id: impl Display, command: D::Command, options: &Options) -> Result<Considered<D>, ExecuteError<D::Refusal>> {
        let stream = Self::stream(id);
        let loaded = self.load_stream(&stream).await?;
        if let Expect::Version(expected) = options.expect
            && expected != loaded.version
        {
            return Err(ExecuteError::Stale { expected, actual: loaded.version });
        }
        let events = self.decide(&loaded.state, command, &options.meta).map_err(ExecuteError::Refused)?;
        for claim in &options.claims {
            let (scope, name) = claim.key();
            // What is given back beside being taken changes hands.
            if options.claims.iter().any(|c| matches!(c, Claim::Release { .. }) && c.key() == (scope, name)) {
                continue;
            }
            let holder: Option<String> =
                sqlx::query_scalar("select stream from claims where scope = $1 and name = $2").bind(scope).bind(name).fetch_optional(&self.log.db.pool).await?;
            if holder.is_some_and(|holder| holder != stream.as_str()) {
                return Err(ExecuteError::NameTaken { scope: scope.to_owned(), name: name.to_owned() });
            }
        }
        let state = gantry_es::fold::<D>(loaded.state, &events);
        Ok(Considered { state, version: loaded.version, events })
    }

    fn decide(&self, state: &D::State, command: D::Command, meta: &Meta) -> Result<Vec<D::Event>, D::Refusal> {
        D::decide(state, command, &Ctx { now: self.log.env.now(), actor: meta.actor.clone() })
    }

    /// `guess`: the state to begin with, which may be old.
    async fn run(
        &self,
        stream: &StreamId,
        command: D::Command,
        options: Options,
        mut guess: Option<Loaded<D::State>>,
    ) -> Result<Executed<D::State>, ExecuteError<D::Refusal>>
    where
        D::Command: Clone,
    {
        let mut tries = 0;
        loop {
            tries += 1;
            let guessed = guess.is_some();
            let loaded = match guess.take() {
                Some(loaded) => loaded,
                None => self.load_stream(stream).await?,
            };
            if let Expect::Version(expected) = options.expect
                && expected != loaded.version
            {
                if guessed {
                    continue;
                }
                return Err(ExecuteError::Stale { expected, actual: loaded.version });
            }
            let events = match self.decide(&loaded.state, command.clone(), &options.meta) {
                Ok(events) => events,
                Err(_) if guessed => continue,
                // A repetition may be refused because the first time worked ("exists already"): then it is no refusal.
                Err(refusal) => match self.earlier(&options.meta).await? {
                    Some(done) => return self.repeated(done).await,
                    None => return Err(ExecuteError::Refused(refusal)),
                },
            };
            if events.is_empty() && options.claims.is_empty() && options.also.is_empty() {
                if guessed {
                    continue;
                }
                return Ok(Executed { state: loaded.state, version: loaded.version, position: 0, events: Vec::new(), repeated: false });
            }
            let mut writes =
                vec![StreamWrite { stream: stream.clone(), expected: Some(loaded.version), events: events.iter().map(EventData::encode).collect() }];
            writes.extend(options.also.iter().cloned());
            let given = options.given.iter();
            writes.extend(given.map(|(stream, version)| StreamWrite { stream: stream.clone(), expected: Some(*version), events: Vec::new() }));
            let append = Append { writes, claims: options.claims.clone(), meta: options.meta.clone() };
            match self.log.append(append).await {
                Ok(appended) => {
                    let state = gantry_es::fold::<D>(loaded.state, &events);
                    let version = loaded.version + i64::try_from(events.len()).unwrap_or(i64::MAX);
                    return Ok(Executed { state, version, position: appended.position, events: appended.events, repeated: false });
                }
                Err(AppendError::Stale { stream: which, .. }) if which == *stream && (guessed || options.expect == Expect::Any && tries < TRIES) => {}
                Err(AppendError::Stale { expected, actual, .. }) => return Err(ExecuteError::Stale { expected, actual }),
                Err(AppendError::NameTaken { scope, name, .. }) => return Err(ExecuteError::NameTaken { scope, name }),
                Err(AppendError::Repeated { stream, position, .. }) => return self.repeated((stream, position)).await,
                Err(error @ (AppendError::Closed | AppendError::Overloaded | AppendError::Sql(_))) => return Err(ExecuteError::Log(error)),
            }
        }
    }

    async fn earlier(&self, meta: &Meta) -> Result<Option<(StreamId, i64)>, sqlx::Error> {
        let Some(id) = &meta.command_id else { return Ok(None) };
        let row: Option<(String, i64)> =
            sqlx::query_as("select stream, position from commands where command_id = $1").bind(id).fetch_optional(&self.log.db.pool).await?;
        Ok(row.map(|(stream, position)| (StreamId::from_stored(stream), position)))
    }

    async fn repeated(&self, (stream, position): (StreamId, i64)) -> Result<Executed<D::State>, ExecuteError<D::Refusal>> {
        let loaded = self.load_stream(&stream).await?;
        Ok(Executed { state: loaded.state, version: loaded.version, position, events: Vec::new(), repeated: true })
    }
}
