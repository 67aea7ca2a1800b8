//! Times as the API writes them.

use gantry_kernel::Env;

/// `metav1.MicroTime`: of leases and events.
pub fn micro(env: &Env) -> String {
    let now = env.now().to_offset(time::UtcOffset::UTC);
    let (date, at) = (now.date(), now.time());
    format!("{date}T{:02}:{:02}:{:02}.{:06}Z", at.hour(), at.minute(), at.second(), at.microsecond())
}

/// `metav1.Time`: of conditions.
pub fn second(env: &Env) -> String {
    let now = env.now().to_offset(time::UtcOffset::UTC);
    let (date, at) = (now.date(), now.time());
    format!("{date}T{:02}:{:02}:{:02}Z", at.hour(), at.minute(), at.second())
}
