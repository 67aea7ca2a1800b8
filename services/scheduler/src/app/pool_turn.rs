//! That no address is given from a pool that is gone: of a change of the pools and a deployment at the same time one waits for the other.
//!
//! Both take the pools' turn, a claim in the transaction of their append. Who is given an address also asks there that the pools are as
//! they were read. Who changes them takes the turn first, then looks who has what, and looks again if somebody has taken the turn since.

use gantry_contract::scheduler::PoolEvent;
use gantry_es::{Meta, StreamId};
use gantry_es_pg::{Append, AppendError, Claim, Options, StreamWrite};
use gantry_kernel::{Kind, Problem};

use super::context::Scheduler;

/// All pools are one stream: no address may be in two.
const STREAM: &str = "all";
/// The one claim of this scope changes hands: it is the pools' own while they are being changed, and else of the application that was given
/// addresses last.
const TURN: &str = "address.turn";

pub fn stream() -> StreamId {
    StreamId::of::<PoolEvent>(STREAM)
}

/// Takes the turn from whoever has it.
fn turn() -> [Claim; 2] {
    [Claim::release(TURN, STREAM), Claim::take(TURN, STREAM)]
}

/// Writes nothing, and fails if the pools have another version.
fn as_read(version: i64) -> StreamWrite {
    StreamWrite { stream: stream(), expected: Some(version), events: Vec::new() }
}

/// The pools that addresses were given from; of an application without any, none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tie(Option<i64>);

impl Tie {
    /// To this version of the pools.
    pub fn to(version: i64) -> Self {
        Self(Some(version))
    }

    pub fn is_tied(self) -> bool {
        self.0.is_some()
    }

    pub fn add_to(self, options: &mut Options) {
        if let Some(version) = self.0 {
            options.claims.extend(turn());
            options.also.push(as_read(version));
        }
    }
}

/// For an application that was tied to pools which are not so any more.
pub fn changed() -> Problem {
    Problem::conflict("scheduler.address_gone", "the address pools were changed just now; try again")
}

pub fn stale() -> Problem {
    Problem::new(Kind::Stale, "request.stale", "somebody changed the address pools meanwhile: read them again")
}

/// The pools take their own turn: whoever was given an address before has it in the list of claims when this is done.
///
/// # Errors
/// They have another version, or the log is away.
pub async fn hold(s: &Scheduler, version: i64) -> Result<(), Problem> {
    let held = Append { writes: vec![as_read(version)], claims: turn().into(), meta: Meta::system() };
    s.host.log().append(held).await.map(drop).map_err(|error| match error {
        AppendError::Stale { .. } => stale(),
        error => Problem::unavailable("the event log").with_source(error),
    })
}

/// For the append of a change: refused with [`AppendError::NameTaken`] if somebody was given an address since [`hold`].
pub fn still_held() -> Claim {
    Claim::take(TURN, STREAM)
}
