//! Other clients than skopeo, as they are installed: buildah and containerd; and artifacts as ORAS and Helm push them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use gantry_kernel::Role;
use gantry_registry::domain::digest::{Algorithm, Digest};
use gantry_registry::domain::manifest::OCI_MANIFEST;
use gantry_testkit::clause;
use http::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::image::{Image, descriptor, layer};
use crate::stage::Stage;

async fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().await.map_err(|e| e.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buildah_builds_pushes_and_pulls() {
    clause("6.2.1.f");
    let stage = Stage::new().await;
    stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hello"), "from buildah").unwrap();
    std::fs::write(folder.path().join("none.json"), "{}").unwrap();
    let certificates = stage.ca_folder();
    let buildah = |store: &str, arguments: &[&str]| {
        let root = folder.path().join(store);
        let mut command = Command::new("buildah");
        command.arg("--storage-driver").arg("vfs").arg("--root").arg(root.join("root")).arg("--runroot").arg(root.join("run")).args(arguments);
        command.env("HOME", folder.path()).env("BUILDAH_ISOLATION", "chroot").env("REGISTRY_AUTH_FILE", folder.path().join("none.json"));
        async move { run(&mut command).await.unwrap() }
    };
    let container = buildah("one", &["from", "scratch"]).await.trim().to_owned();
    buildah("one", &["copy", &container, folder.path().join("hello").to_str().unwrap(), "/hello"]).await;
    buildah("one", &["commit", &container, "localhost/made"]).await;
    let image = format!("docker://{}/acme/shop/built:v1", stage.registry);
    let (certificates, credentials) = (["--cert-dir", certificates.to_str().unwrap()], ["--creds", "ada:secret"]);
    buildah("one", &["push", certificates[0], certificates[1], credentials[0], credentials[1], "localhost/made", &image]).await;
    // Another store: nothing is there already.
    buildah("two", &["pull", certificates[0], certificates[1], credentials[0], credentials[1], &image]).await;
    let from = buildah("two", &["from", "--pull-never", &format!("{}/acme/shop/built:v1", stage.registry)]).await;
    let mounted = buildah("two", &["mount", from.trim()]).await;
    assert_eq!(std::fs::read_to_string(Path::new(mounted.trim()).join("hello")).unwrap(), "from buildah");
}

/// A private containerd; ended with the value.
struct Containerd {
    child: tokio::process::Child,
    folder: tempfile::TempDir,
}

impl Containerd {
    async fn start(stage: &Stage) -> Option<Self> {
        Self::with(stage, "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n").await
    }

    /// `more` goes into the configuration after `version`, `root` and `state`; `{hosts}` is the folder of registries' certificates.
    async fn with(stage: &Stage, more: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let more = more.replace("{hosts}", &folder.path().join("hosts").display().to_string());
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\n{more}[grpc]\naddress = \"{}\"\n[ttrpc]\naddress = \"{}\"\n",
            path("root"),
            path("state"),
            path("sock"),
            path("ttrpc")
        );
        std::fs::write(path("config.toml"), config).unwrap();
        let child =
            Command::new("containerd").arg("--config").arg(path("config.toml")).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().ok()?;
        let containerd = Self { child, folder };
        stage.world.until("containerd answers", Duration::from_secs(30), || async { containerd.ctr(&["version"]).await.is_ok() }).await;
        Some(containerd)
    }

    async fn ctr(&self, arguments: &[&str]) -> Result<String, String> {
        run(Command::new("ctr").arg("--address").arg(self.folder.path().join("sock")).args(arguments)).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containerd_pulls_and_pushes_with_tokens() {
    clause("6.2.1.f");
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    stage.user("eve", None).await;
    let noise: Vec<u8> = (0..2_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let image = Image::of(vec![layer(&[("noise", &noise)]), layer(&[("hello", b"world")])], "amd64");
    let digest = image.push(&stage, "acme/shop/web", "v1", &stage.full(user, "acme/shop/web")).await;
    let Some(mut containerd) = Containerd::start(&stage).await else {
        println!("skipped: containerd is not installed");
        return;
    };
    let authority = stage.world.home.path().join("ca/ca.pem");
    let authority = authority.to_str().unwrap();
    let web = format!("{}/acme/shop/web:v1", stage.registry);
    // Without this, ctr takes a registry on this machine to speak plain HTTP.
    let hosts = containerd.folder.path().join("hosts");
    std::fs::create_dir_all(hosts.join(&stage.registry)).unwrap();
    let server = format!("server = \"https://{0}\"\n[host.\"https://{0}\"]\nca = \"{authority}\"\n", stage.registry);
    std::fs::write(hosts.join(&stage.registry).join("hosts.toml"), server).unwrap();
    let hosts = hosts.to_str().unwrap();
    let as_user = |user: &'static str| ["--hosts-dir", hosts, "--tlscacert", authority, "--user", user];
    let refused = containerd.ctr(&[&["images", "pull", "--snapshotter", "native"][..], &as_user("eve:secret"), &[&web]].concat()).await;
    assert!(refused.is_err(), "somebody without rights gets nothing");
    containerd.ctr(&[&["images", "pull", "--snapshotter", "native"][..], &as_user("ada:secret"), &[&web]].concat()).await.unwrap();
    let listed = containerd.ctr(&["images", "ls"]).await.unwrap();
    assert!(listed.contains(&digest), "{listed}");
    let copy = format!("{}/acme/shop/copy:v2", stage.registry);
    containerd.ctr(&["images", "tag", &web, &copy]).await.unwrap();
    containerd.ctr(&[&["images", "push"][..], &as_user("ada:secret"), &[&copy]].concat()).await.unwrap();
    let head = stage.request(Method::HEAD, "/v2/acme/shop/copy/manifests/v2", &stage.full(user, "acme/shop/copy")).send().await.unwrap();
    assert_eq!(head.headers()["docker-content-digest"].to_str().unwrap(), digest);
    containerd.child.kill().await.unwrap();
}

/// How a node pulls: the container runtime interface of Kubernetes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_pulls_over_the_container_runtime_interface() {
    clause("6.2.1.f");
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    stage.user("eve", None).await;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let own = Image::of(vec![layer(&[("hello", b"for this machine")])], architecture);
    let other = Image::of(vec![layer(&[("hello", b"for another")])], "s390x");
    let token = stage.full(user, "acme/shop/web");
    for image in [&own, &other] {
        image.push(&stage, "acme/shop/web", &image.digest(), &token).await;
    }
    let both = crate::image::index(&[(&other, "linux", "s390x"), (&own, "linux", architecture)]);
    assert_eq!(stage.push("acme/shop/web", "v1", &token, &both).await.status(), 201);
    let config = "[plugins.\"io.containerd.grpc.v1.cri\"]\nrestrict_oom_score_adj = true\ndisable_tcp_service = true\nstream_server_address = \"127.0.0.1\"\nstream_server_port = \"0\"\n\
        [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"{hosts}\"\n";
    let Some(mut containerd) = Containerd::with(&stage, config).await else {
        println!("skipped: containerd is not installed");
        return;
    };
    let hosts = containerd.folder.path().join("hosts").join(&stage.registry);
    std::fs::create_dir_all(&hosts).unwrap();
    let authority = stage.world.home.path().join("ca/ca.pem");
    let server = format!("server = \"https://{0}\"\n[host.\"https://{0}\"]\nca = \"{1}\"\n", stage.registry, authority.display());
    std::fs::write(hosts.join("hosts.toml"), server).unwrap();
    let cri = gantry_cri::Cri::connect(containerd.folder.path().join("sock")).await.unwrap();
    let image = format!("{}/acme/shop/web:v1", stage.registry);
    let credential = |user: &str| gantry_cri::Credential { username: user.into(), password: "secret".into() };
    assert!(cri.pull_image(&image, None).await.is_err() && cri.pull_image(&image, Some(&credential("eve"))).await.is_err());
    cri.pull_image(&image, Some(&credential("ada"))).await.unwrap();
    let (id, digests) = cri.image(&image).await.unwrap().expect("it was pulled");
    // The image is known by its config, and by the index's digest.
    assert_eq!(id, Digest::of(Algorithm::Sha256, &own.config).to_string());
    let index = Digest::of(Algorithm::Sha256, both.to_string().as_bytes()).to_string();
    assert!(digests.iter().any(|d| d.ends_with(&index)), "{digests:?}");
    containerd.child.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podman_signs_in_pulls_pushes_and_makes_lists() {
    clause("6.2.1.f");
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    stage.user("eve", None).await;
    let image = Image::of(vec![layer(&[("hello", b"world")])], "amd64");
    let digest = image.push(&stage, "acme/shop/web", "v1", &stage.full(user, "acme/shop/web")).await;
    let folder = tempfile::tempdir().unwrap();
    let certificates = stage.ca_folder();
    let certificates = certificates.to_str().unwrap().to_owned();
    let podman = |arguments: Vec<String>| {
        let mut command = Command::new("podman");
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        command
            .arg("--root")
            .arg(folder.path().join("root"))
            .arg("--runroot")
            .arg(folder.path().join("run"))
            .arg("--tmpdir")
            .arg(folder.path().join("tmp"))
            .args(arguments);
        command.env("HOME", folder.path()).env("XDG_RUNTIME_DIR", folder.path());
        async move { run(&mut command).await }
    };
    let words = |text: &str| {
        text.split(' ')
            .map(|w| {
                w.replace("{certs}", &certificates)
                    .replace("{auth}", &folder.path().join("auth.json").display().to_string())
                    .replace("{registry}", &stage.registry)
            })
            .collect::<Vec<_>>()
    };
    if podman(words("version")).await.is_err() {
        println!("skipped: podman is not installed, or does not run here");
        return;
    }
    let wrong = podman(words("login --cert-dir {certs} --authfile {auth} -u ada -p wrong {registry}")).await;
    assert!(wrong.is_err(), "a wrong password is told at once");
    podman(words("login --cert-dir {certs} --authfile {auth} -u ada -p secret {registry}")).await.unwrap();
    podman(words("pull --cert-dir {certs} --authfile {auth} --arch amd64 {registry}/acme/shop/web:v1")).await.unwrap();
    let inspected = podman(words("image inspect {registry}/acme/shop/web:v1")).await.unwrap();
    assert!(inspected.contains(&digest), "{inspected}");
    podman(words("tag {registry}/acme/shop/web:v1 {registry}/acme/shop/copy:v2")).await.unwrap();
    podman(words("push --cert-dir {certs} --authfile {auth} {registry}/acme/shop/copy:v2")).await.unwrap();
    podman(words("manifest create localhost/list")).await.unwrap();
    podman(words("manifest add --cert-dir {certs} --authfile {auth} localhost/list docker://{registry}/acme/shop/copy:v2")).await.unwrap();
    podman(words("manifest push --all --cert-dir {certs} --authfile {auth} localhost/list docker://{registry}/acme/shop/copy:list")).await.unwrap();
    let token = stage.full(user, "acme/shop/copy");
    let head = stage.request(Method::HEAD, "/v2/acme/shop/copy/manifests/list", &token).send().await.unwrap();
    assert!(head.headers()["content-type"].to_str().unwrap().contains("list") || head.headers()["content-type"].to_str().unwrap().contains("index"));
    podman(words("logout --authfile {auth} {registry}")).await.unwrap();
    let refused = podman(words("pull --cert-dir {certs} --authfile {auth} {registry}/acme/shop/copy:v2")).await;
    assert!(refused.is_err(), "nobody pulls a private image without signing in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn charts_and_other_artifacts_are_kept_as_they_are() {
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Editor, stage.shop.scope()))).await;
    let repository = "acme/shop/charts/web";
    let token = stage.full(user, repository);
    // Helm: a chart is an image manifest with a config of its own and one or two layers (chart, provenance).
    let (config, chart, provenance) =
        (json!({ "name": "web", "version": "1.2.0", "apiVersion": "v2" }).to_string(), layer(&[("web/Chart.yaml", b"name: web")]), b"signed".to_vec());
    let helm = json!({
        "schemaVersion": 2,
        "config": descriptor("application/vnd.cncf.helm.config.v1+json", config.as_bytes()),
        "layers": [
            descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", &chart),
            descriptor("application/vnd.cncf.helm.chart.provenance.v1.prov", &provenance),
        ],
        "annotations": { "org.opencontainers.image.title": "web", "org.opencontainers.image.version": "1.2.0" },
    });
    // ORAS: any files, an artifact type, and the empty config.
    let file = b"weights of a model".to_vec();
    let mut titled = descriptor("application/octet-stream", &file);
    titled["annotations"] = json!({ "org.opencontainers.image.title": "model.bin" });
    let oras = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/vnd.example.model",
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"), "layers": [titled],
    });
    for bytes in [config.as_bytes(), &chart, &provenance, &file, b"{}"] {
        stage.upload(repository, &token, bytes).await;
    }
    for (tag, manifest) in [("1.2.0", helm), ("model", oras)] {
        let body = manifest.to_string();
        let path = format!("/v2/{repository}/manifests/{tag}");
        // Helm's manifests do not say what they are; the header does.
        let pushed = stage.request(Method::PUT, &path, &token).header("content-type", OCI_MANIFEST).body(body.clone()).send().await.unwrap();
        assert_eq!(pushed.status(), 201, "{}", pushed.text().await.unwrap());
        let read = stage.request(Method::GET, &path, &token).send().await.unwrap();
        assert_eq!(read.headers()["content-type"], OCI_MANIFEST);
        assert_eq!(read.text().await.unwrap(), body);
    }
    let about = Digest::of(Algorithm::Sha256, b"{}");
    let none: Value = stage.request(Method::GET, &format!("/v2/{repository}/referrers/{about}"), &token).send().await.unwrap().json().await.unwrap();
    assert_eq!(none["manifests"], json!([]));
}
