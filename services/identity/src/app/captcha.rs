//! The captcha after failed sign-ins: offered with a page, judged once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_es::Sealed;
use gantry_kernel::Problem;
use redis::aio::ConnectionManager;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::app::secrets::SUBJECT;
use crate::domain::captcha::{DIGITS, NOISE, is_work, picture};
use crate::error::{fault, unsealed};

const SECONDS: i64 = 600;
/// About 65,000 hashes: a second or two of a browser.
const BITS: u32 = 16;
const PURPOSE: &str = "captcha";

/// What a page shows.
#[derive(Clone, Debug, Serialize)]
pub struct Captcha {
    pub token: String,
    pub bits: u32,
    /// A `data:` address.
    pub picture: String,
    /// What was typed already.
    pub typed: String,
}

#[derive(Serialize, Deserialize)]
struct Inside {
    purpose: String,
    id: String,
    digits: String,
    until: i64,
}

/// Which captchas were answered, right or wrong: in Redis for all replicas, here while it is away.
pub struct Answered {
    redis: ConnectionManager,
    prefix: String,
    here: Mutex<HashMap<String, i64>>,
}

impl Answered {
    pub fn new(redis: ConnectionManager, prefix: &str) -> Self {
        Self { redis, prefix: format!("{prefix}:captcha"), here: Mutex::default() }
    }

    /// Whether this is the first answer.
    async fn first(&self, id: &str, until: i64, now: i64) -> bool {
        let mut command = redis::cmd("SET");
        command.arg(format!("{}:{id}", self.prefix)).arg(1).arg("NX").arg("EX").arg(SECONDS);
        if let Ok(set) = command.query_async::<Option<String>>(&mut self.redis.clone()).await {
            return set.is_some();
        }
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        here.retain(|_, until| *until > now);
        here.insert(id.to_owned(), until).is_none()
    }
}

impl App {
    /// # Errors
    /// When it cannot be sealed.
    pub async fn new_captcha(&self) -> Result<Captcha, Problem> {
        let number = u32::from_be_bytes(self.host.env.random::<4>()) % 10u32.pow(u32::try_from(DIGITS).unwrap_or(6));
        let digits = format!("{number:0DIGITS$}");
        let image = self.drawn(&digits);
        let inside = Inside { purpose: PURPOSE.into(), id: self.host.env.uuid().simple().to_string(), digits, until: self.now().unix_timestamp() + SECONDS };
        let token = self.keyring.seal(SUBJECT, &serde_json::to_string(&inside).map_err(fault)?).await.map_err(unsealed)?.0;
        Ok(Captcha { token, bits: BITS, picture: image, typed: String::new() })
    }

    /// The same captcha once more with the answer as it was typed, for whom was sent away before the answer was judged. `None`: it is none of
    /// ours, or too old.
    pub async fn captcha_again(&self, token: &str, typed: &str) -> Option<Captcha> {
        let inside = self.captcha_inside(token).await?;
        let typed = typed.chars().take(10).collect();
        Some(Captcha { token: token.to_owned(), bits: BITS, picture: self.drawn(&inside.digits), typed })
    }

    fn drawn(&self, digits: &str) -> String {
        format!("data:image/png;base64,{}", STANDARD.encode(picture(digits, &self.host.env.random::<NOISE>())))
    }

    async fn captcha_inside(&self, token: &str) -> Option<Inside> {
        let text = self.keyring.open(SUBJECT, &Sealed(token.to_owned())).await.ok()?;
        let inside = serde_json::from_str::<Inside>(&text).ok()?;
        (inside.purpose == PURPOSE && self.now().unix_timestamp() <= inside.until).then_some(inside)
    }

    /// Whether a captcha is answered: by work, or by the digits of its picture. Each counts once, whatever the answer.
    pub async fn captcha_fits(&self, token: &str, work: &str, digits: &str) -> bool {
        let Some(inside) = self.captcha_inside(token).await else { return false };
        let now = self.now().unix_timestamp();
        if !self.answered.first(&inside.id, inside.until, now).await {
            return false;
        }
        let typed: String = digits.chars().filter(|c| !c.is_whitespace()).collect();
        is_work(token, work, BITS) || typed == inside.digits
    }

    /// Whether somebody who types `name` has to answer a captcha first. Names that nobody has are treated alike.
    pub async fn wants_captcha(&self, name: &str, address: &str) -> bool {
        let after = self.config.captcha_after;
        after > 0 && self.attempts.failures(&self.lookup.hash(name), address).await >= after
    }
}
