//! The doors for the script that speaks with passkeys: a challenge, and the form with its answer.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;
use gantry_kernel::Problem;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{FORM_COOKIE, form_fits, language, login, step};
use crate::api::oauth::form::Form;
use crate::api::pages::account::Visit;
use crate::app::App;
use crate::app::secrets::kept;
use crate::app::signin::Origin;
use crate::app::steps::Evidence;

/// Names the browser that a challenge belongs to.
pub(super) fn browser(jar: &CookieJar) -> String {
    use base64::Engine;
    let cookie = jar.get(FORM_COOKIE).map(|c| c.value().to_owned()).unwrap_or_default();
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(kept(&format!("passkey {cookie}")))
}

pub async fn challenge(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    if !form_fits(&app, &jar, form.get("csrf")) {
        return Problem::invalid("csrf", "this page was open for too long: load it again").into_response();
    }
    let browser = browser(&jar);
    let made = match form.get("purpose") {
        Some("signin") => app.challenge_sign_in(&browser).await,
        Some("second") => match step::at(&app, &jar).await {
            Ok(Some(at)) => app.challenge_second(at.person().id, &browser).await,
            Ok(None) => Err(Problem::unauthenticated("sign in first")),
            Err(problem) => Err(problem),
        },
        Some("enrol") => match super::enrol::who(&app, &jar).await {
            Ok(Some((person, _))) => app.challenge_to_add(&person, &browser).await,
            Ok(None) => Err(Problem::unauthenticated("sign in first")),
            Err(problem) => Err(problem),
        },
        Some("add") => match Visit::begin(app.clone(), jar, &headers, origin, None).await {
            Ok(visit) => match visit.prove().await {
                Ok(()) => app.challenge_to_add(&visit.person, &browser).await,
                Err(_) => Err(Problem::unauthenticated("sign in again to add a passkey")),
            },
            Err(_) => Err(Problem::unauthenticated("sign in first")),
        },
        _ => Err(Problem::invalid("purpose", "must be signin, second, enrol or add")),
    };
    match made {
        Ok(challenge) => {
            let mut response = Json(challenge).into_response();
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(problem) => problem.into_response(),
    }
}

/// Signs in by the answer: as the second step if a first was taken, else by itself.
pub async fn submit(State(app): State<App>, jar: CookieJar, headers: HeaderMap, origin: Origin, form: Form) -> Response {
    let language = language(&headers, form.get("ui_locales"));
    let to = form.get("continue");
    if !form_fits(&app, &jar, form.get("csrf")) {
        return login::page(&app, jar, language, StatusCode::BAD_REQUEST, to, None, Some("expired_form"), None).await;
    }
    let at = match step::at(&app, &jar).await {
        Ok(at) => at,
        Err(problem) => return step::failed(language, problem),
    };
    let first = at.as_ref().map(|at| at.person().id);
    let proved = match app.verify_passkey(&browser(&jar), form.get("credential").unwrap_or_default(), first, &origin).await {
        Ok(proved) => proved,
        Err(problem) => {
            let mut response = login::page(&app, jar, language, problem.kind.status(), to, None, Some("passkey_failed"), None).await;
            super::retry_after(&mut response, &problem);
            response.extensions_mut().insert(problem);
            return response;
        }
    };
    match at {
        Some(at) if at.person().id == proved.person.id => step::done(&app, jar, language, at, &Evidence::by(&proved.amr), &origin, to).await,
        // Somebody else than whoever took a first step here: a sign-in of its own.
        Some(_) | None => step::after_first(&app, jar, language, &proved.person, &origin, &Evidence::by(&proved.amr), to).await,
    }
}
