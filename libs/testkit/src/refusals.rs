//! Who may call which RPC: a table with a line per public RPC, asked of a service that runs. Called by a test of each such service.

use prost_reflect::MethodDescriptor;
use serde_json::Value;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::rpc;

/// What somebody gets who is signed in and has no right at the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// The right is missing, or the thing is not there for them.
    Refused,
    /// It is about their own things, or shows only what they may see.
    Own,
    /// Nobody has to sign in: what is asked with a token is not looked at.
    Anybody,
    /// Refused at the place, in other words than those in which the administrator learns that there is none: the same words would mean that
    /// nobody asked for the right.
    Nothing,
    /// There is none, and the thing itself is what one may know or not: both are told the same. That the right is asked for where there is
    /// one, another test has to show.
    Hidden,
}

/// RPC (`<service>.<rpc>`), an example of its request, and what a stranger gets.
pub type Line = (&'static str, Value, Stranger);

/// Whom the table is asked about.
pub struct Callers<'a> {
    pub channel: Channel,
    /// Tokens.
    pub stranger: &'a str,
    pub administrator: &'a str,
}

/// Makes every call of the table, in its order: by nobody, by the stranger, and by the administrator where a stranger is refused. What is
/// answered otherwise than it must be, a sentence each; and which RPC of `services` has no line.
///
/// # Panics
/// When the table names an RPC that does not exist, or a request is none.
pub async fn faults(callers: &Callers<'_>, services: &[&str], table: &[Line]) -> Vec<String> {
    let methods = rpc::methods(services);
    let without = methods.keys().filter(|name| !table.iter().any(|(n, ..)| n == name));
    let mut wrong: Vec<String> = without.map(|name| format!("{name} has no line in the table")).collect();
    for (name, request, stranger) in table {
        let method = methods.get(*name).unwrap_or_else(|| panic!("there is no {name}"));
        let seen = call(callers, method, request, None).await;
        if *stranger == Stranger::Anybody {
            // What was sent may be refused, and in it a secret that is shown; that there is no token may not.
            let wants_token = seen.as_ref().is_err_and(|s| s.message().contains("Bearer"));
            if !matches!(code(&seen), Code::Ok | Code::InvalidArgument) && wants_token {
                wrong.push(format!("{name} as nobody: {seen:?}"));
            }
            continue;
        }
        if code(&seen) != Code::Unauthenticated {
            wrong.push(format!("{name} as nobody: {seen:?}"));
        }
        let refused = call(callers, method, request, Some(callers.stranger)).await;
        let good = if *stranger == Stranger::Own { let_in(&refused) } else { matches!(code(&refused), Code::PermissionDenied | Code::NotFound) };
        if !good {
            wrong.push(format!("{name} as a stranger: {refused:?}"));
        }
        if *stranger != Stranger::Own {
            let seen = call(callers, method, request, Some(callers.administrator)).await;
            let none = matches!(stranger, Stranger::Nothing | Stranger::Hidden);
            if !let_in(&seen) || (code(&seen) == Code::NotFound) != none {
                wrong.push(format!("{name} as the administrator: {seen:?}"));
            }
            if none && (told(&refused) == told(&seen)) != (*stranger == Stranger::Hidden) {
                wrong.push(format!("{name} as a stranger and as the administrator: {refused:?} and {seen:?}"));
            }
        }
    }
    wrong
}

async fn call(callers: &Callers<'_>, method: &MethodDescriptor, request: &Value, token: Option<&str>) -> Result<(), Status> {
    rpc::call(callers.channel.clone(), method, request.clone(), token).await
}

fn code(seen: &Result<(), Status>) -> Code {
    seen.as_ref().err().map_or(Code::Ok, Status::code)
}

fn told(seen: &Result<(), Status>) -> (Code, &str) {
    (code(seen), seen.as_ref().err().map_or("", Status::message))
}

fn let_in(seen: &Result<(), Status>) -> bool {
    !matches!(code(seen), Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented | Code::Internal | Code::Unknown)
}
