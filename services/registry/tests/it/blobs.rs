//! Uploads and reads of blobs, against the letter of the specification.

use gantry_kernel::Role;
use gantry_registry::domain::digest::{Algorithm, Digest};
use http::{Method, header};

use crate::stage::{Stage, code};

const REPO: &str = "acme/shop/web";

async fn begun() -> (Stage, String) {
    let stage = Stage::new().await;
    let user = stage.user("ada", Some((Role::Admin, stage.shop.scope()))).await;
    let token = stage.full(user, REPO);
    (stage, token)
}

/// Status and entity tag of a read of the first bytes under a condition.
async fn part_of(stage: &Stage, path: &str, token: &str, name: header::HeaderName, value: &str) -> (u16, String) {
    let read = stage.request(Method::GET, path, token).header(header::RANGE, "bytes=0-1").header(name, value).send().await.unwrap();
    (read.status().as_u16(), read.headers()["etag"].to_str().unwrap().to_owned())
}

async fn start(stage: &Stage, token: &str) -> String {
    let response = stage.request(Method::POST, &format!("/v2/{REPO}/blobs/uploads/"), token).send().await.unwrap();
    assert_eq!(response.status(), 202);
    response.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_go_in_order_and_the_blob_reads_back_whole_and_in_part() {
    let (stage, token) = begun().await;
    let at = start(&stage, &token).await;
    let patch = |range: &'static str, body: &'static str| stage.request(Method::PATCH, &at, &token).header(header::CONTENT_RANGE, range).body(body).send();
    let response = patch("0-4", "hello").await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["range"].to_str().unwrap()), (202, "0-4"));
    for out_of_order in ["0-4", "6-10", "9-13"] {
        assert_eq!(code(patch(out_of_order, "world").await.unwrap()).await, (416, "BLOB_UPLOAD_INVALID".into()), "{out_of_order}");
    }
    assert_eq!(patch("5-9", "too long").await.unwrap().status(), 400);
    let status = stage.request(Method::GET, &at, &token).send().await.unwrap();
    assert_eq!((status.status().as_u16(), status.headers()["range"].to_str().unwrap()), (204, "0-4"));

    let digest = Digest::of(Algorithm::Sha512, b"hello world");
    let done = stage.request(Method::PUT, &format!("{at}?digest={digest}"), &token).body(" world").send().await.unwrap();
    assert_eq!(done.status(), 201, "{}", done.text().await.unwrap());
    let blob = format!("/v2/{REPO}/blobs/{digest}");
    let head = stage.request(Method::HEAD, &blob, &token).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, "11"));
    assert_eq!(head.headers()["docker-content-digest"].to_str().unwrap(), digest.as_str());
    assert_eq!(stage.request(Method::GET, &blob, &token).send().await.unwrap().text().await.unwrap(), "hello world");
    let part = stage.request(Method::GET, &blob, &token).header(header::RANGE, "bytes=6-8").send().await.unwrap();
    assert_eq!((part.status().as_u16(), part.headers()["content-range"].to_str().unwrap()), (206, "bytes 6-8/11"));
    assert_eq!(part.text().await.unwrap(), "wor");
    let beyond = stage.request(Method::GET, &blob, &token).header(header::RANGE, "bytes=11-").send().await.unwrap();
    assert_eq!((beyond.status().as_u16(), beyond.headers()["content-range"].to_str().unwrap()), (416, "bytes */11"));
    let head = stage.request(Method::HEAD, &blob, &token).header(header::RANGE, "bytes=11-").send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, "11"), "only GET has parts");
    let tag = part_of(&stage, &blob, &token, header::IF_NONE_MATCH, "\"other\"").await.1;
    assert_eq!(tag, format!("\"{digest}\""));
    assert_eq!(part_of(&stage, &blob, &token, header::IF_NONE_MATCH, &tag).await.0, 304);
    assert_eq!(part_of(&stage, &blob, &token, header::IF_RANGE, &tag).await.0, 206);
    assert_eq!(part_of(&stage, &blob, &token, header::IF_RANGE, "\"other\"").await.0, 200, "the beginning of something else");
    assert_eq!(stage.request(Method::GET, &at, &token).send().await.unwrap().status(), 404, "the upload is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_digest_is_refused_and_leaves_nothing() {
    let (stage, token) = begun().await;
    let wrong = Digest::of(Algorithm::Sha256, b"other");
    let at = start(&stage, &token).await;
    let done = stage.request(Method::PUT, &format!("{at}?digest={wrong}"), &token).body("hello").send().await.unwrap();
    assert_eq!(code(done).await, (400, "DIGEST_INVALID".into()));
    let whole = stage.request(Method::POST, &format!("/v2/{REPO}/blobs/uploads/?digest={wrong}"), &token).body("hello").send().await.unwrap();
    assert_eq!(code(whole).await, (400, "DIGEST_INVALID".into()));
    for bad in ["", "md5:abc", "sha256:../../x"] {
        let at = start(&stage, &token).await;
        let done = stage.request(Method::PUT, &format!("{at}?digest={bad}"), &token).body("hello").send().await.unwrap();
        assert_eq!(code(done).await, (400, "DIGEST_INVALID".into()), "{bad}");
    }
    let head = stage.request(Method::GET, &format!("/v2/{REPO}/blobs/{wrong}"), &token).send().await.unwrap();
    assert_eq!(code(head).await, (404, "BLOB_UNKNOWN".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_cut_off_half_way_goes_on_where_it_stopped() {
    let (stage, token) = begun().await;
    let at = start(&stage, &token).await;
    // Half of the body comes, then the client is gone.
    let (pieces, body) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, std::io::Error>>(1);
    let body = futures::stream::unfold(body, |mut body| async move { body.recv().await.map(|piece| (piece, body)) });
    let sending = stage.request(Method::PATCH, &at, &token).body(reqwest::Body::wrap_stream(body)).send();
    let sending = tokio::spawn(sending);
    pieces.send(Ok(vec![b'a'; 100_000].into())).await.unwrap();
    let offset = || async {
        let status = stage.request(Method::GET, &at, &token).send().await.unwrap();
        status.headers()["range"].to_str().unwrap().to_owned()
    };
    stage.world.until("the first half is on the disk", std::time::Duration::from_secs(10), || async { offset().await == "0-99999" }).await;
    sending.abort();
    drop(pieces);

    // A second instance of the registry stands for the one that comes up after `kill -9`: it has the files and nothing else.
    let after = gantry_registry::adapters::blob_fs::BlobFs::open(stage.world.home.path().join("registry")).unwrap();
    let id = uuid::Uuid::parse_str(at.rsplit('/').next().unwrap()).unwrap();
    let name = gantry_registry::domain::name::RepositoryName::parse(REPO).unwrap();
    assert_eq!(after.upload_offset(id, &name).await.unwrap(), 100_000);

    let whole = [vec![b'a'; 100_000], b"end".to_vec()].concat();
    let digest = Digest::of(Algorithm::Sha256, &whole);
    let rest = stage.request(Method::PATCH, &at, &token).header(header::CONTENT_RANGE, "100000-100002").body("end").send().await.unwrap();
    assert_eq!(rest.status(), 202, "{}", rest.text().await.unwrap());
    let done = stage.request(Method::PUT, &format!("{at}?digest={digest}"), &token).header(header::CONTENT_LENGTH, 0).send().await.unwrap();
    assert_eq!(done.status(), 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_is_readable_only_where_it_was_put_and_mounting_needs_the_right_to_read() {
    let (stage, token) = begun().await;
    let digest = stage.upload(REPO, &token, b"shared layer").await;
    let user = stage.user("bob", Some((Role::Admin, stage.shop.scope()))).await;
    let subject = format!("user:{user}");
    let other = "acme/shop/other";
    let alone = stage.full(user, other);
    let blob = format!("/v2/{other}/blobs/{digest}");
    assert_eq!(code(stage.request(Method::GET, &blob, &alone).send().await.unwrap()).await, (404, "BLOB_UNKNOWN".into()));

    let mount = format!("/v2/{other}/blobs/uploads/?mount={digest}&from={REPO}");
    // The right is there, but the token does not say so: another would do.
    let refused = stage.request(Method::POST, &mount, &alone).send().await.unwrap();
    let challenge = refused.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().to_owned();
    assert!(challenge.contains(&format!("scope=\"repository:{other}:pull,push repository:{REPO}:pull\"")), "{challenge}");
    assert_eq!(code(refused).await, (401, "UNAUTHORIZED".into()));
    // Somebody who may not read the source begins an ordinary upload, named or not, whether the blob exists or not.
    let eve = stage.user("eve", Some((Role::Admin, stage.open.scope()))).await;
    let open = "acme/open/other";
    let hers = stage.token(&format!("user:{eve}"), &[("repository", open, &["pull", "push"]), ("repository", REPO, &["pull"])]);
    for digest in [digest.clone(), Digest::of(Algorithm::Sha256, b"nowhere")] {
        for from in [format!("&from={REPO}"), String::new()] {
            let path = format!("/v2/{open}/blobs/uploads/?mount={digest}{from}");
            let begun = stage.request(Method::POST, &path, &hers).send().await.unwrap();
            assert_eq!(begun.status(), 202, "{path}");
        }
    }
    // Nor does a token reach what its owner could read elsewhere: another project, or anything if it is not for reading.
    stage.world.identity.grant(&subject, Role::Admin, stage.open.scope()).await;
    stage.world.identity.settle(&stage.host).await;
    for (name, actions) in [("acme/open/other", &["pull", "push"][..]), (other, &["push"][..])] {
        let limited = stage.token(&subject, &[("repository", name, actions)]);
        let begun = stage.request(Method::POST, &format!("/v2/{name}/blobs/uploads/?mount={digest}"), &limited).send().await.unwrap();
        assert_eq!(begun.status(), 202, "{name}");
    }
    let both = stage.token(&subject, &[("repository", other, &["pull", "push"]), ("repository", REPO, &["pull"])]);
    let mounted = stage.request(Method::POST, &mount, &both).send().await.unwrap();
    assert_eq!(mounted.status(), 201);
    assert_eq!(mounted.headers()["location"].to_str().unwrap(), blob);
    assert_eq!(stage.request(Method::GET, &blob, &alone).send().await.unwrap().text().await.unwrap(), "shared layer");

    let deleted = stage.request(Method::DELETE, &blob, &alone).send().await.unwrap();
    assert_eq!(deleted.status(), 202);
    assert_eq!(stage.request(Method::HEAD, &blob, &alone).send().await.unwrap().status(), 404);
    assert_eq!(stage.request(Method::HEAD, &format!("/v2/{REPO}/blobs/{digest}"), &token).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mounts_that_share_a_statement_each_get_their_own_answer() {
    let (stage, token) = begun().await;
    let parse = |name: &str| gantry_registry::domain::name::RepositoryName::parse(name).unwrap();
    let (here, other, third) = (parse(REPO), parse("acme/shop/other"), parse("acme/shop/third"));
    let [one, two] = [stage.upload(REPO, &token, b"one").await, stage.upload(REPO, &token, b"two").await];
    let nowhere = Digest::of(Algorithm::Sha256, b"nowhere");
    let asked = [
        (other.clone(), one.clone(), Some(here.clone())),
        // The same from where it is not, and from nowhere in particular: it is there by the first.
        (other.clone(), one.clone(), Some(third.clone())),
        (here.clone(), one.clone(), None),
        (other.clone(), two.clone(), Some(third.clone())),
        (third.clone(), two.clone(), Some(here.clone())),
        (third.clone(), nowhere, Some(here.clone())),
    ];
    let pool = &stage.host.db().pool;
    let done = gantry_registry::store::content::mount(pool, &asked, stage.host.env.now(), std::time::Duration::ZERO).await.unwrap();
    let done: Vec<_> = done.into_iter().map(|((name, digest, _), mounted)| (name.to_string(), digest, mounted.small)).collect();
    let all = |name: &str, digest: &Digest| (name.to_owned(), digest.clone(), true);
    assert_eq!(done, [all("acme/shop/other", &one), all("acme/shop/other", &one), all(REPO, &one), all("acme/shop/third", &two)]);
    let links: i64 = sqlx::query_scalar("select count(*) from blob_links where repository <> $1").bind(REPO).fetch_one(pool).await.unwrap();
    assert_eq!(links, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_that_several_need_at_once_are_locked_in_one_order() {
    let (stage, token) = begun().await;
    let digest = |content: &[u8]| Digest::of(Algorithm::Sha256, content).to_string();
    // Those that come later in the order lie before the others.
    let mut contents: [&[u8]; 2] = [b"one", b"two"];
    contents.sort_by_key(|content| std::cmp::Reverse(digest(content)));
    for content in contents {
        stage.upload(REPO, &token, content).await;
    }
    let [last, first] = contents.map(digest);
    let pool = &stage.host.db().pool;
    let mut other = pool.begin().await.unwrap();
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *other).await.unwrap();
    sqlx::query("select from blobs where digest = $1 for update").bind(&first).execute(&mut *other).await.unwrap();
    let (orm, digests, now) = (stage.host.db().orm.clone(), [last.clone(), first], stage.host.env.now());
    let touching = tokio::spawn(async move { gantry_registry::store::blobs::touch(&orm, &digests, now, std::time::Duration::ZERO).await });
    let waits = async {
        let sql = "select count(*) from pg_stat_activity where $1 = any(pg_blocking_pids(pid))";
        while sqlx::query_scalar::<_, i64>(sql).bind(pid).fetch_one(pool).await.unwrap() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), waits).await.expect("it waits for the first");
    // Whoever has the first may come to it.
    let free: Option<String> =
        sqlx::query_scalar("select digest from blobs where digest = $1 for update skip locked").bind(&last).fetch_optional(pool).await.unwrap();
    assert_eq!(free, Some(last));
    other.commit().await.unwrap();
    assert_eq!(touching.await.unwrap().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_can_be_cancelled_and_belongs_to_its_repository() {
    let (stage, token) = begun().await;
    let at = start(&stage, &token).await;
    let user = stage.user("bob", Some((Role::Admin, stage.shop.scope()))).await;
    let elsewhere = at.replace(REPO, "acme/shop/other");
    let foreign = stage.request(Method::PATCH, &elsewhere, &stage.full(user, "acme/shop/other")).body("x").send().await.unwrap();
    assert_eq!(code(foreign).await, (404, "BLOB_UPLOAD_UNKNOWN".into()));
    for odd in ["..%2f..", "not-an-id", "7"] {
        let response = stage.request(Method::PATCH, &format!("/v2/{REPO}/blobs/uploads/{odd}"), &token).body("x").send().await.unwrap();
        assert_eq!(response.status(), 404, "{odd}");
    }
    assert_eq!(stage.request(Method::DELETE, &at, &token).send().await.unwrap().status(), 204);
    assert_eq!(code(stage.request(Method::PATCH, &at, &token).body("x").send().await.unwrap()).await, (404, "BLOB_UPLOAD_UNKNOWN".into()));
}
