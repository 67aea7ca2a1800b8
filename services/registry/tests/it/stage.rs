//! A running registry behind a public door with TLS, as the gateway is one, and a token endpoint as identity has one.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use gantry_auth::{OrgRef, ProjectRef, RegistryAccess, RegistryClaims};
use gantry_host::Host;
use gantry_kernel::{Role, Scope, UserId};
use gantry_registry::adapters::blob_fs::BlobFs;
use gantry_registry::app::App;
use gantry_registry::domain::digest::{Algorithm, Digest};
use gantry_registry::{Config, Registry};
use gantry_testkit::World;
use http::{Method, StatusCode, header};
use serde_json::json;

pub struct Stage {
    pub world: Arc<World>,
    pub host: Host,
    pub org: OrgRef,
    /// `acme/shop`, private; beside it is `acme/open`, public.
    pub shop: ProjectRef,
    pub open: ProjectRef,
    /// `localhost:<port>`
    pub registry: String,
    users: Users,
}

/// Name → id; everybody's password is `secret`.
type Users = Arc<Mutex<HashMap<String, UserId>>>;

impl Stage {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        // The address must be known before the services start: it is the issuer of tokens.
        // It is held until then, or somebody else would be given it.
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let registry = format!("localhost:{port}");
        let url = format!("https://{registry}");
        let world = Arc::new(World::with(|platform| platform.public_url = url).await);
        let host = world.start::<Registry>(config).await;
        let org = world.identity.org("acme").await;
        let shop = world.identity.project(&org, "shop", false).await;
        let open = world.identity.project(&org, "open", true).await;
        world.identity.settle(&host).await;
        let users = Users::default();
        let door = Door { world: world.clone(), host: host.clone(), users: users.clone() };
        let app = Router::new().route("/oauth2/registry-token", get(token)).fallback(forward).with_state(door);
        let leaf = world.running.pki().leaf("gateway", &["localhost"]).unwrap();
        let tls = gantry_host::server_config(world.running.pki(), &leaf, false).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        drop(held);
        gantry_host::serve(address, tls, app, &world.running.doors).await.unwrap();
        Self { world, host, org, shop, open, registry, users }
    }

    /// The registry's parts beside the running one, for rounds at a time of the test's choosing.
    pub fn beside(&self, config: Config) -> App {
        let blobs = BlobFs::open(config.storage(&self.host.platform.home)).unwrap();
        App::new(self.host.clone(), Arc::new(config), blobs)
    }

    /// The same, which collects what nobody has needed for `grace` seconds.
    pub fn collector(&self, grace: u64) -> App {
        self.beside(Config { gc_grace_seconds: grace, ..Config::default() })
    }

    /// A user with `role` on a project.
    pub async fn user(&self, name: &str, role: Option<(Role, Scope)>) -> UserId {
        let user = self.world.user();
        self.users.lock().unwrap().insert(name.into(), user);
        if let Some((role, scope)) = role {
            self.world.identity.grant(&format!("user:{user}"), role, scope).await;
            self.world.identity.settle(&self.host).await;
        }
        user
    }

    /// A registry token with exactly these rights in it.
    pub fn token(&self, subject: &str, access: &[(&str, &str, &[&str])]) -> String {
        sign(&self.world, subject, access.iter().map(|(kind, name, actions)| entry(kind, name, actions)).collect())
    }

    /// A token for everything in one repository.
    pub fn full(&self, user: UserId, repository: &str) -> String {
        self.token(&format!("user:{user}"), &[("repository", repository, &["pull", "push", "delete"])])
    }

    pub fn request(&self, method: Method, path: &str, token: &str) -> reqwest::RequestBuilder {
        self.world.http.request(method, format!("{}{path}", self.host.url_of("registry").unwrap())).bearer_auth(token)
    }

    /// Uploads a blob in one piece.
    pub async fn upload(&self, repository: &str, token: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let response = self.request(Method::POST, &path, token).body(bytes.to_vec()).send().await.unwrap();
        assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
        digest
    }

    pub async fn push(&self, repository: &str, reference: &str, token: &str, manifest: &serde_json::Value) -> reqwest::Response {
        let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.request(Method::PUT, &path, token).header(header::CONTENT_TYPE, media_type).body(manifest.to_string()).send().await.unwrap()
    }

    /// Folder with `ca.crt`, as skopeo's `--cert-dir` wants it.
    pub fn ca_folder(&self) -> PathBuf {
        let folder = self.world.home.path().join("skopeo-certs");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(self.world.home.path().join("ca/ca.pem"), folder.join("ca.crt")).unwrap();
        folder
    }
}

/// Status and first error code of an OCI error.
pub async fn code(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: serde_json::Value = response.json().await.unwrap_or_default();
    (status, body["errors"][0]["code"].as_str().unwrap_or_default().to_owned())
}

#[derive(Clone)]
struct Door {
    world: Arc<World>,
    host: Host,
    users: Users,
}

fn entry(kind: &str, name: &str, actions: &[&str]) -> RegistryAccess {
    RegistryAccess { kind: kind.into(), name: name.into(), actions: actions.iter().map(|a| (*a).to_owned()).collect() }
}

fn sign(world: &World, subject: &str, access: Vec<RegistryAccess>) -> String {
    let now = world.running.env.now().unix_timestamp();
    let claims = RegistryClaims {
        iss: world.running.platform.public_url.clone(),
        sub: subject.into(),
        aud: "gantry-registry".into(),
        exp: now + 300,
        iat: now,
        nbf: now,
        jti: world.running.env.uuid().to_string(),
        access,
    };
    world.sign(&claims)
}

/// Identity's token endpoint, with its rules: less than asked is no error.
async fn token(State(door): State<Door>, request: Request) -> Response {
    let params = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(request.uri()).unwrap().0;
    let basic = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Basic "));
    let subject = match basic {
        None => String::new(),
        Some(text) => {
            let text = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap();
            let user = text.strip_suffix(":secret").and_then(|name| door.users.lock().unwrap().get(name).copied());
            let Some(user) = user else { return StatusCode::UNAUTHORIZED.into_response() };
            format!("user:{user}")
        }
    };
    let mut access = Vec::new();
    for scope in params.iter().filter(|(n, _)| n == "scope").flat_map(|(_, scopes)| scopes.split(' ')) {
        let mut parts = scope.splitn(3, ':');
        let (Some("repository"), Some(name), Some(actions)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let mut place = name.splitn(3, '/');
        let project = door.host.auth.project(place.next().unwrap_or_default(), place.next().unwrap_or_default()).ok();
        let role = project.as_ref().and_then(|p| door.host.auth.read(|r| r.role(&subject, p.scope())));
        let public = project.is_some_and(|p| p.public);
        let may = |action: &&str| match *action {
            "pull" => public || role.is_some(),
            "push" => role >= Some(Role::Editor),
            "delete" => role >= Some(Role::Admin),
            _ => false,
        };
        let granted: Vec<&str> = actions.split(',').filter(may).collect();
        access.push(entry("repository", name, &granted));
    }
    let token = sign(&door.world, &subject, access);
    axum::Json(json!({ "token": token, "expires_in": 300 })).into_response()
}

/// What the gateway does: streams both ways over mTLS.
async fn forward(State(door): State<Door>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let url = format!("{}{}", door.host.url_of("registry").unwrap(), parts.uri.path_and_query().unwrap());
    let mut headers = parts.headers;
    headers.remove(header::HOST);
    let sent = door.world.http.request(parts.method, url).headers(headers).body(reqwest::Body::wrap_stream(body.into_data_stream())).send().await;
    let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    *response.body_mut() = Body::from_stream(answer.bytes_stream());
    response
}
