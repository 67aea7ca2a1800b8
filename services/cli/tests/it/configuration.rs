//! The life of a file of documents: applied, looked at, changed, pruned, exported.

use crate::platform::Platform;

/// One document of every kind an organisation can have; the examples of docs/identity/configuration.md.
const DOCUMENTS: &str = r#"
apiVersion: gantry.io/v1
kind: Organisation
metadata: {name: acme}
spec:
  display_name: Acme
  members: {bob: viewer, eve: editor}
---
apiVersion: gantry.io/v1
kind: Project
metadata: {name: shop, org: acme}
spec: {public: false, spaces: [test, live]}
---
apiVersion: gantry.io/v1
kind: Role
metadata: {name: release, org: acme}
spec: {description: Puts out releases, permissions: [apps.read, apps.write]}
---
apiVersion: gantry.io/v1
kind: Team
metadata: {name: dev, org: acme}
spec: {display_name: Developers}
---
apiVersion: gantry.io/v1
kind: Team
metadata: {name: backend, org: acme}
spec: {display_name: Back end, parent: dev, members: [bob, 'robot:deployer']}
---
apiVersion: gantry.io/v1
kind: ServiceAccount
metadata: {name: deployer, org: acme}
spec: {description: Deploys, repositories: [{pattern: acme/shop/*, actions: [pull, push]}]}
---
apiVersion: gantry.io/v1
kind: Client
metadata: {name: acme-shop, org: acme}
spec: {client_name: Shop, redirect_uris: ['https://shop.example/callback'], scopes: [openid, profile]}
---
apiVersion: gantry.io/v1
kind: TrustedIssuer
metadata: {name: ci, org: acme}
spec:
  issuer: https://ci.example
  jwks_uri: https://ci.example/keys
  rules: [{service_account: deployer, claims: {repository: acme/shop, ref: refs/heads/main}}]
---
apiVersion: gantry.io/v1
kind: Upstream
metadata: {name: acme-directory, org: acme}
spec:
  display_name: Acme's directory
  connection: {ldap: {servers: ['ldaps://dc.example'], bind_dn: 'cn=reader,dc=example', user_base: 'ou=people,dc=example'}}
  mappings: [{group: developers, team: acme/dev}]
  secret_file: SECRET
---
apiVersion: gantry.io/v1
kind: SecurityPolicy
metadata: {name: security, org: acme}
spec: {password_min_length: 14, networks: [127.0.0.0/8, '::1/128']}
---
apiVersion: gantry.io/v1
kind: Branding
metadata: {name: sign-in, org: acme}
spec: {title: Acme, accent: '#7a1fa2', support: help@acme.example, logo_file: LOGO}
---
apiVersion: gantry.io/v1
kind: Binding
metadata: {name: backend puts out releases}
spec: {subject: 'team:backend', role: release, at: acme/shop, condition: {networks: [10.0.0.0/8]}}
"#;

/// 16 × 16 grey pixels.
const PNG: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x10\x00\x00\x00\x10\x08\x00\x00\x00\x00:\x98\xa0\xbd\x00\x00\x00\x0fIDATx\xdach@\x03\x0c#[\x00\x00\x05\x0c\x80\x01\xe33Y\x8a\x00\x00\x00\x00IEND\xaeB`\x82";

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_applied_looked_at_changed_pruned_and_exported() {
    gantry_testkit::clause("6.5.1.2.a");
    gantry_testkit::clause("6.5.2.2.h");
    gantry_testkit::clause("6.5.2.2.j");
    let platform = Platform::open().await;
    let ada = platform.person("ada").await;
    for name in ["bob", "eve"] {
        platform.person(name).await;
    }
    let secret = platform.file("secret", "s3cret\n");
    let logo = platform.world.home.path().join("logo.png");
    std::fs::write(&logo, PNG).expect("written");
    let whole = DOCUMENTS.replace("SECRET", &secret.display().to_string()).replace("LOGO", &logo.display().to_string());
    let file = platform.file("acme.yaml", &whole);
    let file = file.to_str().expect("text");
    let types = async |words: &[&str]| platform.types(&ada, words).await;

    // Nothing there: all is to be made, and then nothing differs.
    let plan = types(&["diff", "-f", file]).await;
    assert!(!plan.ok && plan.err.contains("12 of 12 differ") && plan.out.contains("+ Team acme/backend"), "{}{}", plan.out, plan.err);
    let refused = types(&["apply", "-f", file]).await;
    assert!(!refused.ok && refused.err.contains("--yes"), "without a terminal it asks for --yes: {}", refused.err);
    // The organisation has to be there before it can keep a set.
    types(&["apply", "-f", file, "--yes"]).await.well();
    let none = types(&["diff", "-f", file]).await;
    assert!(none.ok && !none.out.contains("~ ") && none.out.contains("= SecurityPolicy acme/security"), "{}{}", none.out, none.err);
    types(&["apply", "-f", file, "--set", "acme/base", "--yes"]).await.well();

    // Somebody changes things by hand: drift.
    types(&["rights", "grant", "eve", "admin", "--at", "acme/shop"]).await.well();
    types(&["team", "set", "dev", "--display-name", "Devs", "--at", "acme"]).await.well();
    types(&["security-policy", "set", "password_min_length=8", "--at", "acme"]).await.well();
    let drift = types(&["diff", "-f", file]).await;
    assert!(!drift.ok && drift.err.contains("2 of 12 differ"), "{}{}", drift.out, drift.err);
    assert!(drift.out.contains("~ Team acme/dev") && drift.out.contains("\"Devs\" → \"Developers\"") && drift.out.contains("8 → 14"), "{}", drift.out);
    types(&["apply", "-f", file, "--yes"]).await.well();
    types(&["diff", "-f", file]).await.well();

    // The documents name less: what they named goes, what others made stays.
    let less: Vec<&str> = whole
        .split("---\n")
        .filter(|d| !["kind: Role", "kind: TrustedIssuer", "kind: Binding", "name: backend", "kind: Project"].iter().any(|gone| d.contains(gone)))
        .collect();
    let fewer = platform.file("less.yaml", &less.join("---\n"));
    let fewer = fewer.to_str().expect("text");
    let kept = types(&["apply", "-f", fewer, "--set", "acme/base", "--yes"]).await;
    assert!(kept.ok && kept.err.contains("named no more and stay; --prune removes them"), "{}", kept.err);
    let plan = types(&["diff", "-f", fewer, "--set", "acme/base"]).await;
    for line in ["- Binding backend puts out releases", "- TrustedIssuer acme/ci", "- Team acme/backend", "- Role acme/release", "! Project acme/shop"] {
        assert!(plan.out.contains(line), "{line}: {}", plan.out);
    }
    assert!(!plan.ok && plan.err.contains("4 of"), "{}", plan.err);
    let asks = types(&["apply", "-f", fewer, "--set", "acme/base", "--prune"]).await;
    assert!(!asks.ok && asks.err.contains("4 of them removals"), "{}", asks.err);
    types(&["apply", "-f", fewer, "--set", "acme/base", "--prune", "--yes"]).await.well();
    let teams = types(&["team", "list", "--at", "acme"]).await.well();
    assert!(teams.contains("dev") && !teams.contains("backend"), "{teams}");
    assert!(!types(&["role", "list", "--at", "acme"]).await.well().contains("release"));
    assert!(types(&["rights", "bindings", "--at", "acme/shop"]).await.well().contains("eve"), "made by hand, by nobody's document");
    assert!(types(&["project", "list", "--at", "acme"]).await.well().contains("shop"), "a project holds what others made");
    let again = types(&["apply", "-f", fewer, "--set", "acme/base", "--prune", "--yes"]).await;
    assert!(again.ok && again.err.contains("nothing to do"), "{}", again.err);

    // What is there, as documents: applied, they change nothing.
    types(&["apply", "-f", file, "--set", "acme/base", "--yes"]).await.well();
    let exported = types(&["export", "--at", "acme"]).await.well();
    assert!(!exported.contains("s3cret"), "secrets are in no document");
    let exported = platform.file("exported.yaml", &exported);
    let none = types(&["diff", "-f", exported.to_str().expect("text")]).await;
    assert!(none.ok, "{}{}", none.out, none.err);
    for kind in ["Organisation", "Project", "Role", "Team", "ServiceAccount", "Client", "TrustedIssuer", "Upstream", "SecurityPolicy", "Branding", "Binding"] {
        assert!(none.out.contains(&format!("= {kind} ")), "{kind}: {}", none.out);
    }

    let written = std::fs::read_to_string(&exported).expect("read");
    assert!(written.contains("logo:") && written.contains("iVBORw0KGgo"), "the logo stands in its document: {written}");

    // A set is listed, shown and forgotten; what it made stays.
    assert!(types(&["configuration-set", "list", "--org", "acme"]).await.well().contains("base"));
    assert!(types(&["configuration-set", "show", "acme/base"]).await.well().contains("Branding"));
    types(&["configuration-set", "delete", "acme/base", "--yes"]).await.well();
    let gone = types(&["configuration-set", "show", "acme/base"]).await;
    assert!(!gone.ok && gone.err.contains("base"), "{}{}", gone.out, gone.err);
    assert!(types(&["team", "list", "--at", "acme"]).await.well().contains("backend"));

    // The look of the sign-in pages by hand.
    let look = types(&["org", "branding", "set", "acme", "--title", "Acme Ltd", "--support", "", "-o", "json"]).await.well();
    assert!(look.contains("Acme Ltd") && look.contains("#7a1fa2") && !look.contains("help@acme.example"), "{look}");
    let bad = types(&["org", "branding", "logo", "acme", file]).await;
    assert!(!bad.ok && bad.err.contains("PNG, JPEG or WebP"), "{}", bad.err);
    types(&["org", "branding", "logo", "acme", logo.to_str().expect("text")]).await.well();
    types(&["org", "branding", "reset", "acme", "--yes"]).await.well();
    assert!(!types(&["org", "branding", "show", "acme", "-o", "json"]).await.well().contains("title"));

    // Another person's documents do not reach in here.
    let mallory = platform.person("mallory").await;
    let theirs = platform.types(&mallory, &["apply", "-f", file, "--set", "acme/base", "--prune", "--yes"]).await;
    assert!(!theirs.ok, "{}", theirs.out);
    assert!(!platform.types(&mallory, &["export", "--at", "acme"]).await.ok);
}
