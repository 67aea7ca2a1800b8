//! Identity and the gateway, and people who type.

use std::path::PathBuf;

use gantry_gateway::{Gateway, GatewayConfig};
use gantry_host::Host;
use gantry_identity::Identity;
use gantry_kernel::UserId;
use gantry_testkit::{World, free_address};
use reqwest::Method;
use serde_json::json;
use tokio::process::Command;

pub struct Platform {
    pub world: World,
    identity: Host,
    url: String,
}

/// What a command printed, and whether it was content.
pub struct Typed {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl Platform {
    pub async fn open() -> Self {
        let listen = free_address();
        let url = format!("https://localhost:{}", listen.port());
        let world = World::with(|platform| platform.public_url = url.clone()).await;
        let identity = world.start::<Identity>(Default::default()).await;
        world.start::<Gateway>(GatewayConfig { listen, ..GatewayConfig::default() }).await;
        Self { world, identity, url }
    }

    /// A person who registered; their access token.
    pub async fn person(&self, name: &str) -> String {
        let body = json!({ "username": name, "email": format!("{name}@example.org"), "password": "tr4ck-Pumice_olive" });
        let (status, made) = self.world.call(&self.identity, Method::POST, "/api/v1/registrations", None, Some(&body)).await;
        assert_eq!(status, 201, "{made}");
        let id: UserId = made["id"].as_str().expect("an id").parse().expect("a user's id");
        self.world.token(id, name)
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.world.home.path().join(name);
        std::fs::write(&file, text).expect("written");
        file
    }

    /// Types a command with somebody's token.
    pub async fn types(&self, token: &str, words: &[&str]) -> Typed {
        self.world.trust(&self.identity);
        let home = self.world.home.path();
        let run = Command::new(env!("CARGO_BIN_EXE_gantry"))
            .args(words)
            .env("GANTRY_URL", &self.url)
            .env("GANTRY_CA", home.join("ca/ca.pem"))
            .env("GANTRY_TOKEN", token)
            .env("GANTRY_CONFIG_DIR", home.join("cli"))
            .stdin(std::process::Stdio::null())
            .output();
        let done = run.await.expect("gantry runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Typed { ok: done.status.success(), out: text(done.stdout), err: text(done.stderr) }
    }
}

impl Typed {
    pub fn well(self) -> String {
        assert!(self.ok, "{}{}", self.out, self.err);
        self.out
    }
}
