//! Teams, custom roles, conditions, and questions about rights.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::Suite;

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect()
}

async fn check(suite: &Suite, token: &str, body: Value) -> Value {
    let (status, answer) = suite.post(token, "/api/v1/rights/check", body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_passes_its_role_down_and_the_answer_names_the_way() {
    gantry_testkit::clause("6.5.2.2.a");
    let suite = Suite::start().await;
    let [ada, bob, eve] = suite.acme().await;
    let (status, team) = suite.post(&ada, "/api/v1/orgs/acme/teams", json!({ "name": "dev", "display_name": "Developers" })).await;
    assert_eq!((status, team["parent"].as_str()), (201, None), "{team}");
    let (status, team) = suite.post(&ada, "/api/v1/orgs/acme/teams", json!({ "name": "backend", "parent": "dev" })).await;
    assert_eq!((status, team["parent"].as_str()), (201, Some("dev")), "{team}");
    assert_eq!(suite.post(&ada, "/api/v1/orgs/acme/teams", json!({ "name": "dev" })).await.0, 409);
    let (status, circle) = suite.patch(&ada, "/api/v1/orgs/acme/teams/dev", json!({ "parent": "backend" })).await;
    assert_eq!((status, circle["code"].as_str()), (409, Some("identity.team_circle")), "{circle}");

    assert_eq!(suite.put(&ada, "/api/v1/orgs/acme/teams/backend/members/bob", json!({})).await, 204);
    assert_eq!(suite.put(&ada, "/api/v1/orgs/acme/teams/backend/members/nobody", json!({})).await, 404);
    let binding = json!({ "subject": "team:dev", "role": "admin", "org": "acme", "project": "shop" });
    let (status, made) = suite.post(&ada, "/api/v1/bindings", binding).await;
    assert_eq!((status, made["name"].as_str()), (201, Some("team:dev")), "{made}");
    // The project's administrator may create a space; a viewer may not.
    assert_eq!(suite.post(&bob, "/api/v1/orgs/acme/projects/shop/spaces", json!({ "name": "test" })).await.0, 201);
    assert_eq!(suite.post(&eve, "/api/v1/orgs/acme/projects/shop/spaces", json!({ "name": "live" })).await.0, 403);

    let asked = json!({ "permission": "apps.write", "org": "acme", "project": "shop" });
    let answer = check(&suite, &bob, asked.clone()).await;
    assert_eq!((answer["allowed"].as_bool(), &answer["reasons"][0]["teams"]), (Some(true), &json!(["backend", "dev"])), "{answer}");
    let denied = check(&suite, &eve, asked).await;
    assert!(denied["allowed"] == false && denied["explanation"].as_str().unwrap().starts_with("denied: no role"), "{denied}");
    let (_, who) = suite.get(&ada, "/api/v1/rights/who-can?permission=apps.write&org=acme&project=shop").await;
    let mut holders = names(&who);
    holders.sort_unstable();
    assert_eq!(holders, ["ada", "admin", "bob"], "the platform's administrator as well: {who}");
    let (_, matrix) = suite.get(&ada, "/api/v1/rights/matrix?org=acme&project=shop").await;
    let row = matrix["items"].as_array().unwrap().iter().find(|r| r["name"] == "eve").unwrap();
    assert!(row["permissions"].as_array().unwrap().contains(&json!("apps.read")) && !row["permissions"].as_array().unwrap().contains(&json!("apps.write")));

    assert_eq!(suite.delete(&ada, "/api/v1/orgs/acme/teams/dev").await, 409, "a team is below it");
    assert_eq!(suite.delete(&ada, "/api/v1/orgs/acme/teams/backend/members/bob").await, 204);
    assert_eq!(suite.post(&bob, "/api/v1/orgs/acme/projects/shop/spaces", json!({ "name": "live" })).await.0, 403);
    assert_eq!(suite.delete(&ada, "/api/v1/orgs/acme/teams/backend").await, 204);
    assert_eq!(suite.delete(&ada, "/api/v1/orgs/acme/teams/dev").await, 204);
    assert_eq!(suite.get(&ada, "/api/v1/orgs/acme/teams").await.1["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_role_gives_what_it_names_and_nobody_makes_one_beyond_their_own() {
    gantry_testkit::clause("6.5.2.2.d");
    let suite = Suite::start().await;
    let [ada, bob, eve] = suite.acme().await;
    let (_, published) = suite.get(&ada, "/api/v1/permissions").await;
    assert!(names(&published).contains(&"identity.teams-write"));
    let role =
        json!({ "name": "keeper", "org": "acme", "permissions": ["identity.read", "identity.teams-write", "identity.bindings-write", "identity.roles-write"] });
    let (status, made) = suite.post(&ada, "/api/v1/roles", role).await;
    assert_eq!(status, 201, "{made}");
    let (status, bad) = suite.post(&ada, "/api/v1/roles", json!({ "name": "bad", "org": "acme", "permissions": ["root.all"] })).await;
    assert_eq!((status, bad["errors"][0]["field"].as_str()), (400, Some("permissions[0]")), "{bad}");
    assert_eq!(suite.post(&ada, "/api/v1/roles", json!({ "name": "admin", "org": "acme", "permissions": ["apps.read"] })).await.0, 400);
    assert_eq!(suite.post(&ada, "/api/v1/roles", json!({ "name": "all", "permissions": ["apps.read"] })).await.0, 403, "not the platform's");

    assert_eq!(suite.post(&ada, "/api/v1/bindings", json!({ "subject": "bob", "role": "keeper", "org": "acme" })).await.0, 201);
    let (status, unknown) = suite.post(&ada, "/api/v1/bindings", json!({ "subject": "bob", "role": "king", "org": "acme" })).await;
    assert!(status == 400 && unknown["detail"].as_str().unwrap().contains("king"), "{unknown}");
    assert_eq!(suite.post(&bob, "/api/v1/orgs/acme/teams", json!({ "name": "dev" })).await.0, 201);
    assert_eq!(suite.post(&eve, "/api/v1/orgs/acme/teams", json!({ "name": "mine" })).await.0, 403);
    assert_eq!(suite.post(&bob, "/api/v1/orgs/acme/projects", json!({ "name": "other" })).await.0, 403, "the role says nothing of projects");
    // Escalation: he may give roles, but none that has more than his own.
    for (role, expected) in [("keeper", 201), ("admin", 403), ("editor", 403)] {
        let (status, answer) = suite.post(&bob, "/api/v1/bindings", json!({ "subject": "eve", "role": role, "org": "acme" })).await;
        assert_eq!(status, expected, "{role}: {answer}");
    }
    let more = json!({ "name": "more", "org": "acme", "permissions": ["billing.admin"] });
    let (status, refused) = suite.post(&bob, "/api/v1/roles", more).await;
    assert!(status == 403 && refused["detail"].as_str().unwrap().contains("nobody gives more than they have"), "{refused}");
    let id = made["id"].as_str().unwrap();
    assert_eq!(suite.patch(&bob, &format!("/api/v1/roles/{id}"), json!({ "permissions": ["identity.admin"] })).await.0, 403, "nor by changing the own role");
    // A team with more than his own rights: he cannot let himself in.
    assert_eq!(suite.post(&ada, "/api/v1/bindings", json!({ "subject": "team:dev", "role": "admin", "org": "acme" })).await.0, 201);
    assert_eq!(suite.put(&bob, "/api/v1/orgs/acme/teams/dev/members/bob", json!({})).await, 403);

    assert_eq!(suite.delete(&ada, &format!("/api/v1/roles/{id}")).await, 409, "somebody has it");
    let (status, changed) = suite.patch(&ada, &format!("/api/v1/roles/{id}"), json!({ "permissions": ["identity.read"] })).await;
    assert_eq!((status, &changed["permissions"]), (200, &json!(["identity.read"])), "{changed}");
    assert_eq!(suite.post(&bob, "/api/v1/orgs/acme/teams", json!({ "name": "late" })).await.0, 403, "a changed role holds at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conditional_binding_counts_only_when_its_condition_holds() {
    let suite = Suite::start().await;
    let [ada, bob, eve] = suite.acme().await;
    let bind = |condition: Value| json!({ "subject": "bob", "role": "admin", "org": "acme", "project": "shop", "condition": condition });
    let (status, bad) = suite.post(&ada, "/api/v1/bindings", bind(json!({ "networks": ["10.0.0.0/64"], "weekdays": [9] }))).await;
    assert!(status == 400 && bad["errors"].as_array().unwrap().len() == 2, "{bad}");
    assert_eq!(suite.post(&ada, "/api/v1/bindings", bind(json!({ "moon": "full" }))).await.0, 400);
    let (status, made) = suite.post(&ada, "/api/v1/bindings", bind(json!({ "networks": ["10.0.0.0/8"], "factors": ["otp"] }))).await;
    assert_eq!((status, made["condition"]["factors"][0].as_str()), (201, Some("otp")), "{made}");
    assert_eq!(suite.post(&bob, "/api/v1/orgs/acme/projects/shop/spaces", json!({ "name": "test" })).await.0, 403, "wrong network, wrong factor");
    let asked = |from: &str, factors: Value| json!({ "permission": "apps.write", "org": "acme", "project": "shop", "from": from, "factors": factors });
    assert_eq!(check(&suite, &bob, asked("10.1.2.3", json!(["pwd", "otp"]))).await["allowed"], true);
    let denied = check(&suite, &bob, asked("10.1.2.3", json!(["pwd"]))).await;
    assert!(denied["explanation"].as_str().unwrap().contains("only after a sign-in with otp"), "{denied}");
    let id = made["id"].as_str().unwrap();
    assert_eq!(suite.delete(&ada, &format!("/api/v1/bindings/{id}")).await, 204);
    let (status, _) = suite.post(&ada, "/api/v1/bindings", bind(json!({ "networks": ["127.0.0.0/8", "::1/128"], "factors": ["pwd"] }))).await;
    assert_eq!(status, 201);
    assert_eq!(suite.post(&bob, "/api/v1/orgs/acme/projects/shop/spaces", json!({ "name": "test" })).await.0, 201);

    // Who lacks nothing but a second factor is told so (RFC 9470).
    let second = json!({ "subject": "eve", "role": "admin", "org": "acme", "project": "shop", "condition": { "factors": ["otp"] } });
    assert_eq!(suite.post(&ada, "/api/v1/bindings", second).await.0, 201);
    let request = suite.world.http.post(format!("{}/api/v1/orgs/acme/projects/shop/spaces", suite.base)).bearer_auth(&eve);
    let refused = request.json(&json!({ "name": "late" })).send().await.unwrap();
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
    assert_eq!((refused.status().as_u16(), challenge), (403, "Bearer error=\"insufficient_user_authentication\", acr_values=\"2\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_learns_nothing_of_teams_roles_and_rights() {
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    suite.register("mallory").await;
    let mallory = suite.access("mallory").await;
    assert_eq!(suite.post(&mallory, "/api/v1/orgs", json!({ "name": "evil" })).await.0, 201);
    let (_, team) = suite.post(&ada, "/api/v1/orgs/acme/teams", json!({ "name": "dev" })).await;
    let (_, role) = suite.post(&ada, "/api/v1/roles", json!({ "name": "keeper", "org": "acme", "permissions": ["identity.read"] })).await;
    let (team, role) = (team["id"].as_str().unwrap(), role["id"].as_str().unwrap());
    for (method, path) in [
        (Method::GET, "/api/v1/orgs/acme/teams".to_owned()),
        (Method::GET, format!("/api/v1/orgs/evil/teams/{team}")),
        (Method::DELETE, format!("/api/v1/orgs/evil/teams/{team}")),
        (Method::GET, format!("/api/v1/roles/{role}")),
        (Method::DELETE, format!("/api/v1/roles/{role}")),
        (Method::GET, "/api/v1/roles?org=acme".to_owned()),
        (Method::GET, "/api/v1/orgs/acme/service-accounts".to_owned()),
        (Method::GET, "/api/v1/rights/matrix?org=acme".to_owned()),
        (Method::GET, "/api/v1/rights/who-can?permission=apps.read&org=acme".to_owned()),
    ] {
        assert_eq!(suite.json(method.clone(), &path, Some(&mallory), None).await.0, 404, "{method} {path}");
    }
    for body in [
        json!({ "subject": format!("team:{team}"), "role": "viewer", "org": "evil" }),
        json!({ "subject": "mallory", "role": format!("role:{role}"), "org": "evil" }),
    ] {
        assert_eq!(suite.post(&mallory, "/api/v1/bindings", body.clone()).await.0, 400, "{body}");
    }
    let put = format!("/api/v1/orgs/evil/teams/{team}/members/mallory");
    assert_eq!(suite.put(&mallory, &put, json!({})).await, 404);
    assert_eq!(suite.post(&mallory, "/api/v1/rights/check", json!({ "permission": "apps.read", "org": "acme" })).await.0, 404);
    assert_eq!(suite.post(&mallory, "/api/v1/rights/check", json!({ "permission": "no.such", "org": "evil" })).await.0, 400);
}

/// A team of an organisation may have a role at the platform; the organisation's administrator must not get at it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_hangs_a_team_below_one_whose_roles_they_do_not_have() {
    let suite = Suite::start().await;
    let [ada, bob, _] = suite.acme().await;
    let admin = suite.admin().await;
    let (_, ops) = suite.post(&ada, "/api/v1/orgs/acme/teams", json!({ "name": "ops" })).await;
    for body in [json!({ "name": "mine" }), json!({ "name": "below", "parent": "ops" })] {
        assert_eq!(suite.post(&ada, "/api/v1/orgs/acme/teams", body).await.0, 201);
    }
    let strong = json!({ "subject": format!("team:{}", ops["id"].as_str().unwrap()), "role": "admin" });
    assert_eq!(suite.post(&admin, "/api/v1/bindings", strong).await.0, 201);
    assert_eq!(suite.put(&ada, "/api/v1/orgs/acme/teams/mine/members/bob", json!({})).await, 204);
    for team in ["ops", "below"] {
        assert_eq!(suite.put(&ada, &format!("/api/v1/orgs/acme/teams/{team}/members/bob"), json!({})).await, 403, "{team}");
        let (status, refused) = suite.patch(&ada, "/api/v1/orgs/acme/teams/mine", json!({ "parent": team })).await;
        assert_eq!(status, 403, "{team}: {refused}");
    }
    assert_eq!(suite.get(&bob, "/api/v1/policies/security").await.0, 403, "bob has nothing at the platform");
    // Where a team hangs already it may be said to hang, and nothing is written.
    let below = "/api/v1/orgs/acme/teams/below";
    let events = async || {
        let sql = "select count(*) from events where kind = 'team.moved'";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&suite.host.db().pool).await.unwrap()
    };
    let before = events().await;
    let (status, same) = suite.patch(&ada, below, json!({ "parent": "ops", "display_name": "Below" })).await;
    assert_eq!((status, same["parent"].as_str(), same["display_name"].as_str()), (200, Some("ops"), Some("Below")), "{same}");
    assert_eq!(events().await, before);
    assert_eq!(suite.patch(&ada, below, json!({ "parent": "" })).await.0, 200, "taking it away gives nobody anything");
    assert_eq!(suite.patch(&admin, "/api/v1/orgs/acme/teams/mine", json!({ "parent": "ops" })).await.0, 200, "who has the role may");
    assert_eq!(suite.get(&bob, "/api/v1/policies/security").await.0, 200);
}
