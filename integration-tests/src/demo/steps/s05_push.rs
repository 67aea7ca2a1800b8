//! A small application with its tests, image, deployment and pipeline, pushed with the real git.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::demo::api::text;
use crate::demo::story::Story;
use crate::demo::tools;

const PIPELINE: &str = r#"stages:
  - name: test
    steps:
      - name: unit
        image: base:1
        run:
          - sh test.sh
        reports: [out/junit.xml]
        artifacts: [out/junit.xml]
        resources: { cpu: 500m, memory: 128Mi }
  - name: ship
    when: { branch: [main] }
    steps:
      - name: image
        build:
          image: web
          tags: ["${GANTRY_SHORT_COMMIT}", latest]
          args: { BASE: "${GANTRY_REGISTRY}/${GANTRY_ORG}/${GANTRY_PROJECT}/base:1" }
      - name: release
        needs: [image]
        timeout: 3m
        deploy:
          file: compose.yaml
          space: test
          app: web
          values: { IMAGE: "${steps.image.image}" }
"#;

const DOCKERFILE: &str = r#"ARG BASE
FROM ${BASE}
COPY www /www
RUN chmod 755 /www/cgi-bin/who
EXPOSE 8080
CMD ["/bin/httpd", "-f", "-p", "8080", "-h", "/www"]
"#;

/// Says who answers. The line on stderr is the application's log.
const WHO: &str = r#"#!/bin/sh
echo "answered by $(hostname) version $(cat /www/version)" >&2
echo "Content-Type: application/json"
echo
echo "{\"instance\":\"$(hostname)\",\"version\":\"$(cat /www/version)\"}"
"#;

const TEST: &str = r#"set -e
mkdir -p out
test -s www/version && failure= || failure='<failure message="no version"/>'
echo "<testsuite><testcase name=\"there is a version\">$failure</testcase><testcase name=\"there is a page\"/></testsuite>" > out/junit.xml
test -z "$failure"
echo "2 tests, version $(cat www/version)"
"#;

pub async fn run(story: &mut Story) -> Result<String> {
    let repository = story.api()?.post(&format!("{}/repositories", story.project_path()), &json!({ "name": story.app })).await?;
    let url = text(&repository, "clone_url").to_owned();
    let compose = format!(
        r#"services:
  web:
    image: ${{IMAGE:?}}
    ports: ["8080"]
    healthcheck: {{ test: [CMD, /bin/wget, -q, -O, /dev/null, "http://127.0.0.1:8080/version"], interval: 1s, timeout: 2s, retries: 3 }}
    stop_grace_period: 2s
    deploy:
      replicas: 3
      resources: {{ limits: {{ cpus: "0.25", memory: 64M }} }}
      update_config: {{ parallelism: 1, order: start-first }}
    x-gantry:
      balance: roundrobin
      routes: [{{ host: {}.localhost, path: / }}]
"#,
        story.org
    );
    let files = [
        (".gantry/pipeline.yaml", PIPELINE),
        ("Dockerfile", DOCKERFILE),
        ("compose.yaml", &compose),
        ("test.sh", TEST),
        ("www/cgi-bin/who", WHO),
        ("www/version", "1\n"),
    ];
    for (path, text) in files {
        let file = story.tree.join(path);
        fs::create_dir_all(file.parent().context("a file is in a folder")?)?;
        fs::write(file, text)?;
    }
    git(story, &["init", "-q", "-b", "main"]).await?;
    git(story, &["remote", "add", "origin", &url]).await?;
    let commit = commit_and_push(story, "version 1").await?;
    Ok(format!("pushed {} to {url}", &commit[..12]))
}

/// Commits everything and pushes; gives the commit.
pub async fn commit_and_push(story: &Story, message: &str) -> Result<String> {
    git(story, &["add", "."]).await?;
    git(story, &["commit", "-q", "-m", message]).await?;
    git(story, &["push", "-q", "origin", "main"]).await?;
    Ok(git(story, &["rev-parse", "HEAD"]).await?.trim().to_owned())
}

async fn git(story: &Story, args: &[&str]) -> Result<String> {
    // The token by a file, not by an argument that other users of the machine could read.
    let secret = story.files.path().join("token");
    write_private(&secret, &story.api()?.token)?;
    let helper = format!("credential.helper=!f() {{ echo username={}; echo \"password=$(cat {})\"; }}; f", story.user, secret.display());
    let common = ["-c", &helper, "-c", "user.name=Demo Developer", "-c", "user.email=demo@example.org"];
    // By the variable, which wins over settings and over a variable of this machine.
    let ca = story.suite.ca.canonicalize()?.display().to_string();
    let env = [("GIT_SSL_CAINFO", ca.as_str()), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_TERMINAL_PROMPT", "0")];
    tools::run("git", &[&common[..], args].concat(), &story.tree, &env).await.with_context(|| format!("git {}", args.join(" ")))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
