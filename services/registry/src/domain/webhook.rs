//! What webhooks tell: happenings as CloudEvents 1.0 (JSON format), signed as the Standard Webhooks specification has it, with
//! growing pauses between tries.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gantry_contract::registry::RepositoryEvent as Event;
use gantry_contract::registry::flow::{Happening, Webhook};
use gantry_kernel::{OffsetDateTime, Uuid};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use time::format_description::well_known::Rfc3339;

use super::name::RepositoryName;
use super::pattern;
use super::retention::is_attached;

/// Begins every signing secret (Standard Webhooks, "Symmetric").
const PREFIX: &str = "whsec_";
/// Bytes of a secret: 24 to 64 by that specification.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Something that somebody may want to hear of.
#[derive(Clone, Debug, PartialEq)]
pub struct Happened {
    pub happening: Happening,
    /// The last part of the CloudEvents type: `gantry.registry.<what>`.
    pub what: &'static str,
    /// `<org>/<project>/<name>`; none when it is about the project as a whole.
    pub repository: Option<String>,
    pub tag: Option<String>,
    pub data: Value,
}

/// What an event of a repository tells, if anything.
pub fn told(event: &Event, actor: &str) -> Option<Happened> {
    let one = |happening, what, repository: &String, tag: Option<&String>, mut data: Value| {
        data["repository"] = repository.as_str().into();
        data["by"] = actor.into();
        Some(Happened { happening, what, repository: Some(repository.clone()), tag: tag.cloned(), data })
    };
    match event {
        Event::TagMoved { repository, tag, digest, from, .. } => {
            one(Happening::Pushed, "image.pushed", repository, Some(tag), json!({ "tag": tag, "digest": digest, "previous": from }))
        }
        Event::ManifestPushed { repository, digest, subject: Some(subject), artifact_type, media_type, size_bytes, .. } => {
            let data = json!({ "digest": digest, "subject": subject, "artifact_type": artifact_type, "media_type": media_type, "size_bytes": size_bytes });
            one(Happening::Attached, "artifact.attached", repository, None, data)
        }
        // The tag that follows says it.
        Event::ManifestPushed { subject: None, .. } => None,
        Event::TagDeleted { repository, tag, digest, .. } => {
            one(Happening::Deleted, "tag.deleted", repository, Some(tag), json!({ "tag": tag, "digest": digest }))
        }
        Event::ManifestDeleted { repository, digest, .. } => one(Happening::Deleted, "image.deleted", repository, None, json!({ "digest": digest })),
        Event::Scanned { repository, digest, packages, critical, high, medium, low, unknown, .. } => {
            let data = json!({ "digest": digest, "packages": packages, "critical": critical, "high": high, "medium": medium, "low": low, "unknown": unknown });
            one(Happening::Scanned, "image.scanned", repository, None, data)
        }
    }
}

/// Whether a webhook wants to hear of it.
pub fn wants(webhook: &Webhook, happened: &Happened) -> bool {
    let kind = match webhook.happenings.as_slice() {
        [] => happened.happening != Happening::Pulled,
        some => some.contains(&happened.happening),
    };
    let rest = happened.repository.as_deref().and_then(|r| RepositoryName::parse(r).ok()).map(|n| n.rest().to_owned());
    let named = rest.is_none_or(|rest| pattern::matches(&webhook.repositories, &rest));
    let tagged = match &happened.tag {
        // What is about an image is told as such, unless its own tag is asked for.
        Some(tag) => pattern::matches(&webhook.tags, tag) && (webhook.tags != "*" || !is_attached(tag)),
        None => true,
    };
    webhook.enabled && kind && named && tagged
}

/// The event as it is sent. `place` is organisation and project.
pub fn cloud_event(id: Uuid, at: OffsetDateTime, public_url: &str, place: (&str, &str), happened: &Happened) -> Value {
    let mut event = json!({
        "specversion": "1.0",
        "id": id.to_string(),
        "source": format!("{public_url}/api/v1/orgs/{}/projects/{}/registry", place.0, place.1),
        "type": format!("gantry.registry.{}", happened.what),
        "time": at.format(&Rfc3339).unwrap_or_default(),
        "datacontenttype": "application/json",
        "data": happened.data,
    });
    if let Some(repository) = &happened.repository {
        event["subject"] = happened.tag.as_ref().map_or_else(|| repository.clone(), |tag| format!("{repository}:{tag}")).into();
    }
    event
}

/// The id of what one webhook is told of one event: the same however often the event is looked at.
pub fn delivery_id(event: &str, webhook: &str) -> Uuid {
    let hash = Sha256::digest(format!("{event} {webhook}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// A new secret from random bytes.
pub fn secret(random: [u8; 32]) -> String {
    format!("{PREFIX}{}", STANDARD.encode(random))
}

/// The key in a secret.
///
/// # Errors
/// What is wrong with it, for the user.
pub fn key_of(secret: &str) -> Result<Vec<u8>, &'static str> {
    const FAULT: &str = "must be `whsec_` and the base64 of 24 to 64 bytes; leave it out to have one made";
    let bytes = secret.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok()).ok_or(FAULT)?;
    if SECRET_BYTES.contains(&bytes.len()) { Ok(bytes) } else { Err(FAULT) }
}

/// The value of `webhook-signature`: one for each key, so that a receiver can change over.
pub fn signatures(keys: &[Vec<u8>], id: &str, timestamp: i64, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    let one = |key: &Vec<u8>| format!("v1,{}", STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes())));
    keys.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// How long to wait after `tries` that failed; none: it is given up. The receiver may ask for more, within reason.
pub fn pause(pauses: &[u64], tries: u32, asked: Option<Duration>) -> Option<Duration> {
    let own = Duration::from_secs(*pauses.get(usize::try_from(tries).unwrap_or(usize::MAX).saturating_sub(1))?);
    Some(own.max(asked.unwrap_or_default().min(Duration::from_secs(3600))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn webhook(more: &str) -> Webhook {
        serde_json::from_str(&format!(r#"{{"name":"ci","url":"https://ci.example"{more}}}"#)).unwrap()
    }

    fn moved(tag: &str) -> Event {
        let id = Uuid::from_u128(1);
        Event::TagMoved { org: id.into(), project: id.into(), repository: "acme/shop/web".into(), tag: tag.into(), digest: "sha256:1".into(), from: None }
    }

    #[test]
    fn a_signature_is_the_hmac_of_id_time_and_body() {
        // The example of the Standard Webhooks specification.
        let key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = r#"{"test": 2432232314}"#;
        let value = signatures(std::slice::from_ref(&key), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(value, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(signatures(&[key.clone(), key], "a", 1, "b").split(' ').count(), 2);
        for bad in ["", "whsec_", "whsec_!!", "whsec_YWJj", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert!(key_of(bad).is_err(), "{bad}");
        }
        assert!(key_of(&secret([7; 32])).is_ok());
    }

    #[test]
    fn webhooks_hear_what_they_ask_for() {
        let pushed = told(&moved("v1"), "user:1").unwrap();
        assert!(wants(&webhook(""), &pushed));
        assert!(wants(&webhook(r#","tags":"v*","repositories":"web","happenings":["pushed"]"#), &pushed));
        assert!(!wants(&webhook(r#","happenings":["scanned"]"#), &pushed));
        assert!(!wants(&webhook(r#","repositories":"db""#), &pushed) && !wants(&webhook(r#","tags":"x""#), &pushed));
        assert!(!wants(&webhook(r#","enabled":false"#), &pushed));
        let signature = format!("sha256-{}.sig", "a".repeat(64));
        assert!(!wants(&webhook(""), &told(&moved(&signature), "").unwrap()));
        assert!(wants(&webhook(r#","tags":"sha256-*""#), &told(&moved(&signature), "").unwrap()));
        let pulled = Happened { happening: Happening::Pulled, ..pushed };
        assert!(!wants(&webhook(""), &pulled) && wants(&webhook(r#","happenings":["pulled"]"#), &pulled));
    }

    #[test]
    fn an_event_is_a_cloud_event() {
        let id = delivery_id("event", "ci");
        assert_eq!(id, delivery_id("event", "ci"));
        assert_ne!(id, delivery_id("event", "cd"));
        let event = cloud_event(id, OffsetDateTime::UNIX_EPOCH, "https://g", ("acme", "shop"), &told(&moved("v1"), "user:1").unwrap());
        assert_eq!(event["subject"], "acme/shop/web:v1");
        assert_eq!(event["source"], "https://g/api/v1/orgs/acme/projects/shop/registry");
        assert_eq!((&event["type"], &event["time"]), (&json!("gantry.registry.image.pushed"), &json!("1970-01-01T00:00:00Z")));
        assert_eq!(event["data"], json!({ "repository": "acme/shop/web", "tag": "v1", "digest": "sha256:1", "previous": null, "by": "user:1" }));
    }

    #[test]
    fn pauses_grow_and_end() {
        let pauses = [5, 30];
        assert_eq!(pause(&pauses, 1, None), Some(Duration::from_secs(5)));
        assert_eq!(pause(&pauses, 2, Some(Duration::from_secs(60))), Some(Duration::from_secs(60)));
        assert_eq!(pause(&pauses, 1, Some(Duration::from_secs(999_999))), Some(Duration::from_secs(3600)));
        assert_eq!(pause(&pauses, 3, None), None);
    }

    proptest! {
        /// A narrower webhook never hears more.
        #[test]
        fn filters_only_ever_take_away(tag in "[a-z0-9]{1,6}", tags in "[a-z0-9*?]{1,5}", repositories in "[a-z*?]{1,5}") {
            let happened = told(&moved(&tag), "").unwrap();
            let narrow = Webhook { tags: tags.clone(), repositories: repositories.clone(), ..webhook("") };
            prop_assert!(wants(&webhook(""), &happened));
            prop_assert_eq!(wants(&narrow, &happened), pattern::matches(&tags, &tag) && pattern::matches(&repositories, "web"));
        }

        #[test]
        fn no_secret_makes_the_parser_panic(text in "(whsec_)?.{0,40}") {
            let _ = key_of(&text);
        }
    }
}
