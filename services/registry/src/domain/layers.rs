//! What an image's config tells people: how it is started, and which step made which layer.

use serde::{Deserialize, Serialize};

/// Longest text that is shown of one step or setting.
const LONGEST: usize = 2_000;
/// Steps that are shown; real images have some dozens.
const MOST: usize = 3_000;

/// From the config (image-spec, config.md). What it leaves out is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Told {
    pub created: Option<String>,
    pub author: Option<String>,
    pub user: String,
    pub working_dir: String,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub ports: Vec<String>,
    pub volumes: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    created: Option<String>,
    author: Option<String>,
    config: Option<Run>,
    history: Option<Vec<Step>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Run {
    user: Option<String>,
    working_dir: Option<String>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    exposed_ports: Option<serde_json::Map<String, serde_json::Value>>,
    volumes: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Step {
    created_by: Option<String>,
    empty_layer: bool,
}

/// What the config says, and for each layer the step that made it, in the layers' order. Of a config that is none: nothing.
pub fn tell(config: &[u8]) -> (Told, Vec<String>) {
    let Config { created, author, config: run, history } = serde_json::from_slice(config).unwrap_or_default();
    let run = run.unwrap_or_default();
    let told = Told {
        created: created.map(short),
        author: author.map(short),
        user: short(run.user.unwrap_or_default()),
        working_dir: short(run.working_dir.unwrap_or_default()),
        entrypoint: run.entrypoint.into_iter().flatten().take(MOST).map(short).collect(),
        command: run.cmd.into_iter().flatten().take(MOST).map(short).collect(),
        ports: run.exposed_ports.into_iter().flatten().take(MOST).map(|(name, _)| short(name)).collect(),
        volumes: run.volumes.into_iter().flatten().take(MOST).map(|(name, _)| short(name)).collect(),
    };
    let steps = history.into_iter().flatten().filter(|s| !s.empty_layer).take(MOST).map(|s| short(s.created_by.unwrap_or_default())).collect();
    (told, steps)
}

fn short(text: String) -> String {
    if text.chars().count() <= LONGEST { text } else { text.chars().take(LONGEST).chain(std::iter::once('…')).collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_without_a_layer_are_left_out() {
        let config = br#"{"created":"2026-01-01T00:00:00Z","config":{"User":"65532","Cmd":["serve"],"ExposedPorts":{"80/tcp":{}}},
            "history":[{"created_by":"ADD base"},{"created_by":"ENV A=b","empty_layer":true},{"created_by":"COPY app"}]}"#;
        let (told, steps) = tell(config);
        assert_eq!(steps, ["ADD base", "COPY app"]);
        assert_eq!((told.user.as_str(), told.command.as_slice(), told.ports.as_slice()), ("65532", &["serve".to_owned()][..], &["80/tcp".to_owned()][..]));
    }

    #[test]
    fn a_config_that_is_none_says_nothing() {
        for bytes in [&b""[..], b"{}", b"null", b"{\"history\":7}", b"\xff"] {
            assert_eq!(tell(bytes), (Told::default(), Vec::new()));
        }
    }

    proptest! {
        #[test]
        fn no_config_is_shown_longer_than_it_may_be(step in ".{0,5000}") {
            let (_, steps) = tell(serde_json::json!({ "history": [{ "created_by": step }] }).to_string().as_bytes());
            prop_assert!(steps[0].chars().count() <= LONGEST + 1);
        }
    }
}
