//! What content is kept in: a folder, or a bucket of a server that speaks S3. The server is moto (PyPI `moto[server]`): it checks
//! parts, ranges and copies as S3 does, but neither signatures nor durability.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gantry_registry::Config;
use gantry_registry::config::S3;
use gantry_registry::domain::digest::Digest;
use gantry_servers::Need;

use crate::stage::Stage;

/// The least S3 takes.
pub const PART: usize = 5 << 20;

/// A process; gone with the value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running server with an empty bucket; gone with the value.
pub struct Bucket {
    _server: Server,
    pub url: String,
    http: reqwest::Client,
}

impl Bucket {
    /// None, and why on standard output, when the server is not on this machine.
    pub async fn start() -> Option<Self> {
        let moto = match Need::Moto.find() {
            Ok(moto) => moto.path,
            Err(why) => {
                println!("skipped: moto is {why} (`make test` as root installs it)");
                return None;
            }
        };
        // It takes a port that is free and says which: nobody else can have been given it.
        let args = ["-H", "127.0.0.1", "-p", "0"];
        let mut server = Server(Command::new(moto).args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let lines = BufReader::new(server.0.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (tell, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let (mut tell, mut before) = (Some(tell), String::new());
            // To the end: a server whose words nobody takes stands still.
            for line in lines {
                let Some(waiting) = tell.take() else { continue };
                match line.split_whitespace().find(|word| word.starts_with("http://127.0.0.1:")) {
                    Some(url) => drop(waiting.send(Ok(url.to_owned()))),
                    None => {
                        before = format!("{before}{line}\n");
                        tell = Some(waiting);
                    }
                }
            }
            if let Some(waiting) = tell {
                drop(waiting.send(Err(before)));
            }
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        let told = tokio::time::timeout(Duration::from_secs(60), told).await.expect("moto says where it listens").unwrap();
        let url: String = told.unwrap_or_else(|said| panic!("moto ended: {said}"));
        // moto takes any signature, but not none.
        let signed = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        let headers = [(http::header::AUTHORIZATION, http::HeaderValue::from_static(signed))].into_iter().collect();
        let http = reqwest::Client::builder().no_proxy().default_headers(headers).build().unwrap();
        while !http.get(format!("{url}/moto-api/data.json")).send().await.is_ok_and(|answer| answer.status() == 200) {
            assert!(Instant::now() < deadline, "moto does not answer");
            assert!(server.0.try_wait().unwrap().is_none(), "moto ended");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let bucket = Self { _server: server, url, http };
        assert_eq!(bucket.http.put(format!("{}/images", bucket.url)).send().await.unwrap().status(), 200);
        Some(bucket)
    }

    pub fn config(&self) -> S3 {
        S3 {
            bucket: "images".into(),
            prefix: "registry".into(),
            endpoint: self.url.clone(),
            access_key_id: "key".into(),
            secret_access_key: gantry_kernel::Secret::new("secret"),
            allow_http: true,
            part_bytes: PART as u64,
            patience_seconds: 3,
            ..S3::default()
        }
    }

    pub async fn get(&self, path: &str) -> String {
        self.http.get(format!("{}/images{path}", self.url)).send().await.unwrap().text().await.unwrap()
    }
}

pub enum Ground {
    Folder,
    Bucket(Bucket),
}

impl Ground {
    pub fn config(&self) -> Config {
        match self {
            Self::Folder => Config::default(),
            Self::Bucket(bucket) => Config { s3: bucket.config(), ..Config::default() },
        }
    }

    fn file(stage: &Stage, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        stage.world.home.path().join("registry/blobs").join(digest.algorithm().as_str()).join(&hex[..2]).join(hex)
    }

    fn key(digest: &Digest) -> String {
        let hex = digest.hex();
        format!("/registry/blobs/{}/{}/{hex}", digest.algorithm().as_str(), &hex[..2])
    }

    /// Whether the store itself has the content.
    pub async fn has(&self, stage: &Stage, digest: &Digest) -> bool {
        match self {
            Self::Folder => Self::file(stage, digest).exists(),
            Self::Bucket(bucket) => {
                let url = format!("{}/images{}", bucket.url, Self::key(digest));
                bucket.http.head(url).send().await.unwrap().status() == 200
            }
        }
    }

    /// Replaces what the store has.
    pub async fn spoil(&self, stage: &Stage, digest: &Digest, bytes: Vec<u8>) {
        match self {
            Self::Folder => std::fs::write(Self::file(stage, digest), bytes).unwrap(),
            Self::Bucket(bucket) => {
                let url = format!("{}/images{}", bucket.url, Self::key(digest));
                assert_eq!(bucket.http.put(url).body(bytes).send().await.unwrap().status(), 200);
            }
        }
    }

    /// What says that there is an upload.
    pub async fn keep_upload(&self, stage: &Stage, id: uuid::Uuid) -> String {
        match self {
            Self::Folder => std::fs::read_to_string(Self::upload(stage, id).join("repository")).unwrap(),
            Self::Bucket(_) => {
                let sql = "select to_jsonb(u)::text from uploads u where id = $1";
                sqlx::query_scalar(sql).bind(id).fetch_one(&stage.host.db().pool).await.unwrap()
            }
        }
    }

    /// Says so again after its end.
    pub async fn bring_back(&self, stage: &Stage, id: uuid::Uuid, kept: String) {
        match self {
            Self::Folder => {
                let folder = Self::upload(stage, id);
                std::fs::create_dir(&folder).unwrap();
                std::fs::write(folder.join("repository"), kept).unwrap();
            }
            Self::Bucket(_) => {
                let sql = "insert into uploads select * from jsonb_populate_record(null::uploads, $1::text::jsonb)";
                sqlx::query(sql).bind(kept).execute(&stage.host.db().pool).await.unwrap();
            }
        }
    }

    fn upload(stage: &Stage, id: uuid::Uuid) -> PathBuf {
        stage.world.home.path().join("registry/uploads").join(id.to_string())
    }

    /// What is left of uploads, by name.
    pub async fn uploads(&self, stage: &Stage) -> Vec<String> {
        match self {
            Self::Folder => {
                let entries = std::fs::read_dir(stage.world.home.path().join("registry/uploads")).unwrap();
                entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
            }
            Self::Bucket(bucket) => {
                let keys = |text: String| text.split("<Key>").skip(1).map(|k| k.split('<').next().unwrap().to_owned()).collect::<Vec<_>>();
                let objects = keys(bucket.get("?list-type=2&prefix=registry/uploads").await);
                objects.into_iter().chain(keys(bucket.get("?uploads").await)).collect()
            }
        }
    }
}
