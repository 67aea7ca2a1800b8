//! SCIM 2.0: a directory outside keeps the people and teams of an organisation.

use reqwest::header::{CONTENT_TYPE, ETAG};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::Suite;

const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

struct Directory<'a> {
    suite: &'a Suite,
    token: String,
}

impl<'a> Directory<'a> {
    async fn of(suite: &'a Suite, admin: &str, org: &str) -> Self {
        let (status, made) = suite.post(admin, &format!("/api/v1/orgs/{org}/scim-tokens"), json!({ "name": "entra" })).await;
        assert_eq!(status, 201, "{made}");
        Self { suite, token: made["secret"].as_str().unwrap().to_owned() }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>, if_match: Option<&str>) -> (u16, Value) {
        let mut request = self.suite.world.http.request(method, format!("{}/scim/v2/orgs/{path}", self.suite.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/scim+json").body(body.to_string());
        }
        if let Some(version) = if_match {
            request = request.header("if-match", version);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, path, None, None).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(Method::POST, path, Some(body), None).await
    }

    async fn patch(&self, path: &str, operations: Value) -> (u16, Value) {
        self.send(Method::PATCH, path, Some(json!({ "schemas": [PATCH], "Operations": operations })), None).await
    }

    async fn names(&self, query: &[(&str, &str)]) -> Vec<String> {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let (status, list) = self.get(&format!("acme/Users?{query}")).await;
        assert_eq!(status, 200, "{query}: {list}");
        list["Resources"].as_array().unwrap().iter().map(|u| u["userName"].as_str().unwrap().to_owned()).collect()
    }
}

fn person(name: &str, outside: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name, "externalId": outside, "active": true,
        "name": { "givenName": "Test", "familyName": name.split('@').next() }, "emails": [{ "value": format!("{}@corp.example", name.split('@').next().unwrap()), "primary": true }],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn people_come_change_and_go_by_provisioning() {
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    let scim = Directory::of(&suite, &ada, "acme").await;
    let (status, made) = scim.post("acme/Users", person("grace@corp.example", "X-1")).await;
    assert_eq!((status, made["userName"].as_str(), made["displayName"].as_str()), (201, Some("grace@corp.example"), Some("Test grace")), "{made}");
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(suite.get(&ada, "/api/v1/users/grace").await.1["email"], "grace@corp.example", "a name to sign in with was made");
    assert_eq!(suite.get(&ada, "/api/v1/orgs/acme/members").await.1["items"].as_array().unwrap().len(), 4);
    let (status, taken) = scim.post("acme/Users", person("grace@corp.example", "X-2")).await;
    assert_eq!((status, taken["scimType"].as_str()), (409, Some("uniqueness")), "{taken}");
    assert_eq!(scim.post("acme/Users", person("ada", "X-3")).await.0, 409);
    assert_eq!(scim.post("acme/Users", json!({ "userName": "x" })).await.1["scimType"], "invalidValue");

    for (query, expected) in [
        (vec![("filter", "userName eq \"GRACE@corp.example\"")], vec!["grace@corp.example"]),
        (vec![("filter", "externalId eq \"X-1\"")], vec!["grace@corp.example"]),
        (vec![("filter", "externalId eq \"x-1\"")], vec![]),
        (vec![("filter", "emails[value ew \"@corp.example\"] and not (active eq false)")], vec!["grace@corp.example"]),
        (vec![("filter", "userName sw \"b\" or userName eq \"eve\""), ("sortBy", "userName"), ("sortOrder", "descending")], vec!["eve", "bob"]),
        (vec![("startIndex", "2"), ("count", "2")], vec!["bob", "eve"]),
        (vec![("count", "0")], vec![]),
    ] {
        assert_eq!(scim.names(&query).await, expected, "{query:?}");
    }
    let (_, cut) = scim.get(&format!("acme/Users/{id}?attributes=userName,emails.value")).await;
    assert_eq!(cut, json!({ "schemas": cut["schemas"], "id": id, "userName": "grace@corp.example", "emails": [{ "value": "grace@corp.example" }] }));
    let (_, cut) = scim.get(&format!("acme/Users/{id}?excludedAttributes=groups,meta")).await;
    assert!(cut.get("groups").is_none() && cut.get("meta").is_none() && cut.get("emails").is_some());

    let one = format!("acme/Users/{id}");
    let version = made["meta"]["version"].as_str().unwrap();
    let (status, changed) =
        scim.patch(&one, json!([{ "op": "replace", "path": "displayName", "value": "Grace H" }, { "op": "Replace", "value": { "active": "False" } }])).await;
    assert_eq!((status, &changed["active"], &changed["displayName"]), (200, &json!(false), &json!("Grace H")), "{changed}");
    assert_eq!(suite.get(&ada, "/api/v1/users/grace").await.1["state"], "suspended");
    let put = person("grace@corp.example", "X-1");
    assert_eq!(scim.send(Method::PUT, &one, Some(put.clone()), Some(version)).await.0, 412, "an old version");
    let (status, back) = scim.send(Method::PUT, &one, Some(put), changed["meta"]["version"].as_str()).await;
    assert_eq!((status, &back["active"]), (200, &json!(true)), "{back}");
    let response = suite.world.http.get(format!("{}/scim/v2/orgs/{one}", suite.base)).bearer_auth(&scim.token);
    let etag = response.try_clone().unwrap().send().await.unwrap().headers()[ETAG].to_str().unwrap().to_owned();
    assert_eq!(response.header("if-none-match", etag).send().await.unwrap().status(), StatusCode::NOT_MODIFIED);

    // Who has the account from elsewhere is not the directory's to change, only to let go.
    let (_, bob) = scim.get("acme/Users?filter=userName+eq+%22bob%22").await;
    let bob = format!("acme/Users/{}", bob["Resources"][0]["id"].as_str().unwrap());
    let (status, refused) = scim.patch(&bob, json!([{ "op": "replace", "path": "active", "value": false }])).await;
    assert_eq!((status, refused["scimType"].as_str()), (403, Some("mutability")), "{refused}");
    assert_eq!(scim.send(Method::DELETE, &bob, None, None).await.0, 204);
    assert_eq!(suite.get(&suite.admin().await, "/api/v1/users/bob").await.0, 200, "he only left the organisation");
    assert_eq!(scim.send(Method::DELETE, &one, None, None).await.0, 204);
    assert_eq!(suite.get(&suite.admin().await, "/api/v1/users/grace").await.0, 404, "she is erased");
    assert_eq!(scim.get(&one).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_teams_and_bulk_makes_both_at_once() {
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    let scim = Directory::of(&suite, &ada, "acme").await;
    let bulk = json!({ "schemas": [BULK], "failOnErrors": 1, "Operations": [
        { "method": "POST", "path": "/Users", "bulkId": "u1", "data": person("linus", "L") },
        { "method": "POST", "path": "/Groups", "bulkId": "g1", "data": { "displayName": "Back End", "externalId": "G-1", "members": [{ "value": "bulkId:u1" }] } },
        { "method": "POST", "path": "/Groups", "bulkId": "g2", "data": { "displayName": "All", "members": [{ "value": "bulkId:g1", "type": "Group" }] } },
        { "method": "PATCH", "path": "/Users/bulkId:u1", "data": { "schemas": [PATCH], "Operations": [{ "op": "add", "path": "displayName", "value": "Linus T" }] } },
    ] });
    let (status, answer) = scim.post("acme/Bulk", bulk).await;
    let statuses: Vec<_> =
        answer["Operations"].as_array().unwrap_or_else(|| panic!("{answer}")).iter().map(|o| o["status"].as_str().unwrap().to_owned()).collect();
    assert_eq!((status, statuses), (200, vec!["201".to_owned(), "201".into(), "201".into(), "200".into()]), "{answer}");
    let (_, teams) = suite.get(&ada, "/api/v1/orgs/acme/teams").await;
    assert_eq!((&teams["items"][1]["name"], &teams["items"][1]["parent"]), (&json!("back-end"), &json!("all")), "{teams}");
    // A role of the upper group reaches the member of the lower one.
    assert_eq!(suite.post(&ada, "/api/v1/bindings", json!({ "subject": "team:all", "role": "editor", "org": "acme", "project": "shop" })).await.0, 201);
    let (_, can) = suite.post(&ada, "/api/v1/rights/check", json!({ "permission": "apps.write", "org": "acme", "project": "shop", "subject": "linus" })).await;
    assert_eq!(can["allowed"], true, "{can}");

    let (_, list) = scim.get("acme/Groups?filter=displayName+eq+%22back+end%22").await;
    assert_eq!(list["totalResults"], 1, "{list}");
    let group = list["Resources"][0].clone();
    let linus = group["members"][0]["value"].as_str().unwrap().to_owned();
    let one = format!("acme/Groups/{}", group["id"].as_str().unwrap());
    let (_, upper) = scim.get("acme/Groups?filter=displayName+eq+%22all%22").await;
    let upper = upper["Resources"][0]["id"].as_str().unwrap().to_owned();
    let (status, circle) = scim.patch(&one, json!([{ "op": "add", "path": "members", "value": [{ "value": upper }] }])).await;
    assert_eq!(status, 409, "{circle}");
    let (status, left) = scim.patch(&one, json!([{ "op": "remove", "path": format!("members[value eq \"{linus}\"]") }])).await;
    assert_eq!((status, &left["members"]), (200, &json!([])), "{left}");
    let (_, can) = suite.post(&ada, "/api/v1/rights/check", json!({ "permission": "apps.write", "org": "acme", "project": "shop", "subject": "linus" })).await;
    assert_eq!(can["allowed"], false, "{can}");
    assert_eq!(scim.post("acme/Groups", json!({ "displayName": "back END" })).await.0, 409);
    let stranger = suite.register("stranger").await;
    assert_eq!(scim.patch(&one, json!([{ "op": "add", "path": "members", "value": [{ "value": stranger }] }])).await.0, 400, "nobody of elsewhere");
    assert_eq!(scim.send(Method::DELETE, &one, None, None).await.0, 204);

    let failing = json!({ "schemas": [BULK], "failOnErrors": 1, "Operations": [
        { "method": "POST", "path": "/Groups", "bulkId": "a", "data": { "displayName": "A", "members": [{ "value": "bulkId:nobody" }] } },
        { "method": "POST", "path": "/Groups", "bulkId": "b", "data": { "displayName": "B" } },
    ] });
    let (_, answer) = scim.post("acme/Bulk", failing).await;
    assert_eq!(answer["Operations"].as_array().unwrap().len(), 1, "it stopped at the first error: {answer}");
    let many: Vec<Value> = (0..101).map(|n| json!({ "method": "DELETE", "path": format!("/Users/{n}") })).collect();
    assert_eq!(scim.post("acme/Bulk", json!({ "schemas": [BULK], "Operations": many })).await.0, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provisioning_token_is_for_its_organisation_only_and_bombs_are_refused() {
    let suite = Suite::start().await;
    let [ada, bob, _] = suite.acme().await;
    suite.register("mallory").await;
    let mallory = suite.access("mallory").await;
    assert_eq!(suite.post(&mallory, "/api/v1/orgs", json!({ "name": "evil" })).await.0, 201);
    assert_eq!(suite.post(&bob, "/api/v1/orgs/acme/scim-tokens", json!({ "name": "x" })).await.0, 403);
    assert_eq!(suite.post(&mallory, "/api/v1/orgs/acme/scim-tokens", json!({ "name": "x" })).await.0, 404);
    let (ours, theirs) = (Directory::of(&suite, &ada, "acme").await, Directory::of(&suite, &mallory, "evil").await);
    let (_, ada_user) = ours.get("acme/Users?filter=userName+eq+%22ada%22").await;
    let id = ada_user["Resources"][0]["id"].as_str().unwrap();
    assert_eq!(theirs.get("acme/Users").await.0, 401);
    assert_eq!(theirs.get("nope/Users").await.0, 401);
    for path in [format!("evil/Users/{id}"), "evil/Users/not-an-id".into(), "evil/Groups/x".into(), "evil/Things".into()] {
        assert_eq!(theirs.get(&path).await.0, 404, "{path}");
    }
    assert_eq!(theirs.send(Method::DELETE, &format!("evil/Users/{id}"), None, None).await.0, 404);
    let (_, found) = theirs.get("evil/Users?filter=userName+eq+%22ada%22").await;
    assert_eq!(found["totalResults"], 0, "nobody of another organisation is found: {found}");
    let anonymous = Directory { suite: &suite, token: ada.clone() };
    assert_eq!(anonymous.get("acme/Users").await.0, 401, "a person's token is none");

    let deep = format!("{}a%20pr{}", "(".repeat(400), ")".repeat(400));
    for filter in [deep.as_str(), &"x".repeat(5_000), "a%20eq", "%FF%FE", &["a%20pr"; 150].join("%20or%20")] {
        let (status, refused) = ours.get(&format!("acme/Users?filter={filter}")).await;
        assert_eq!((status, refused["scimType"].as_str()), (400, Some("invalidFilter")), "{filter:.60}: {refused}");
    }
    let raw = async |body: Vec<u8>| {
        let request = suite.world.http.post(format!("{}/scim/v2/orgs/acme/Users", suite.base)).bearer_auth(&ours.token).body(body);
        // The server may hang up on a body that is too large before it has all of it.
        request.send().await.map_or(413, |answer| answer.status().as_u16())
    };
    assert_eq!(raw(format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes()).await, 400);
    assert_eq!(raw(b"{\"userName\": \"\xff\xfe\"}".to_vec()).await, 400);
    assert_eq!(raw(vec![b' '; 3 << 20]).await, 413);
    // A name that looks like another one is not taken over as a name to sign in with.
    let (status, made) = ours.post("acme/Users", person("\u{430}da", "look")).await;
    assert_eq!((status, made["userName"].as_str()), (201, Some("\u{430}da")), "{made}");
    let (_, shown) = suite.get(&ada, &format!("/api/v1/users/{}", made["id"].as_str().unwrap())).await;
    assert!(shown["username"].as_str().unwrap().is_ascii() && shown["username"] != "ada", "{shown}");

    for (path, at) in [
        ("ServiceProviderConfig", "/bulk/maxOperations"),
        ("ResourceTypes", "/Resources/1/endpoint"),
        ("Schemas", "/Resources/0/attributes/0/name"),
        ("ResourceTypes/User", "/schema"),
    ] {
        let (status, body) = ours.get(&format!("acme/{path}")).await;
        assert!(status == 200 && body.pointer(at).is_some(), "{path}: {body}");
    }
    let (_, tokens) = suite.get(&ada, "/api/v1/orgs/acme/scim-tokens").await;
    let token = tokens["items"][0]["id"].as_str().unwrap();
    assert_eq!(suite.delete(&mallory, &format!("/api/v1/orgs/evil/scim-tokens/{token}")).await, 404);
    assert_eq!(suite.delete(&ada, &format!("/api/v1/orgs/acme/scim-tokens/{token}")).await, 204);
    assert_eq!(ours.get("acme/Users").await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_directories_send_beside_the_rules_is_taken_and_what_there_is_not_is_said() {
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    let scim = Directory::of(&suite, &ada, "acme").await;
    let (_, made) = scim.post("acme/Users", person("grace@corp.example", "X-1")).await;
    let one = format!("acme/Users/{}", made["id"].as_str().unwrap());
    let entra = json!([
        { "op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "+1" },
        { "op": "Add", "path": "addresses[type eq \"work\"].locality", "value": "Turin" },
        { "op": "Add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "value": "Compilers" },
        { "op": "Replace", "path": "displayName", "value": "Grace H" },
        { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "g@corp.example" },
    ]);
    let (status, changed) = scim.patch(&one, entra).await;
    assert_eq!((status, changed["displayName"].as_str(), changed["emails"][0]["value"].as_str()), (200, Some("Grace H"), Some("g@corp.example")), "{changed}");
    let primary = json!([{ "op": "add", "path": "emails", "value": [{ "value": "first@corp.example", "type": "work", "primary": true }] }]);
    assert_eq!(scim.patch(&one, primary).await.1["emails"][0]["value"], "first@corp.example", "the new primary one counts");
    let by_part = "emails[type eq \"work\"].value eq \"FIRST@corp.example\" and active eq True";
    assert_eq!(scim.names(&[("filter", by_part)]).await, ["grace@corp.example"]);
    let since = |at: &str| format!("externalId eq \"X-1\" and meta.created gt \"{at}\"");
    assert_eq!(scim.names(&[("filter", &since("2001-01-01T00:00:00+14:00"))]).await, ["grace@corp.example"]);
    assert_eq!(scim.names(&[("filter", &since("2999-01-01T00:00:00Z"))]).await, Vec::<String>::new());

    let (_, plain) = scim.post("acme/Users", person("hopper", "H-1")).await;
    let other = format!("acme/Users/{}", plain["id"].as_str().unwrap());
    let rename = async |to: &str| scim.patch(&other, json!([{ "op": "replace", "path": "userName", "value": to }])).await;
    let (status, renamed) = rename("Hopper2").await;
    assert_eq!((status, renamed["userName"].as_str()), (200, Some("Hopper2")), "{renamed}");
    assert_eq!(scim.names(&[("filter", "userName eq \"hopper2\"")]).await, ["Hopper2"]);
    assert_eq!(suite.get(&ada, "/api/v1/users/hopper").await.0, 200, "the name to sign in with stays");
    let (status, refused) = rename("GRACE@corp.example").await;
    assert_eq!((status, refused["scimType"].as_str()), (409, Some("uniqueness")), "{refused}");
    assert_eq!(rename("ada").await.0, 409);
    assert_eq!(rename("hopper").await.1["userName"], "hopper");

    let (status, refused) = scim.patch(&one, json!([{ "op": "replace", "path": "id", "value": "x" }])).await;
    assert_eq!((status, refused["scimType"].as_str()), (400, Some("mutability")), "{refused}");
    let (status, refused) = scim.patch(&one, json!([{ "op": "replace", "path": "phoneNumbers[type eq \"fax\"].value", "value": "1" }])).await;
    assert_eq!((status, refused["scimType"].as_str()), (400, Some("noTarget")), "{refused}");
    let (status, refused) = scim.get("acme/Me").await;
    assert_eq!((status, refused["status"].as_str()), (501, Some("501")), "{refused}");
    for fixed in ["ServiceProviderConfig", "ResourceTypes", "Schemas"] {
        assert_eq!(scim.get(&format!("acme/{fixed}?filter=name+pr")).await.0, 403, "{fixed}");
        assert_eq!(scim.post(&format!("acme/{fixed}"), json!({})).await.0, 405, "{fixed}");
    }

    let request = suite.world.http.get(format!("{}/scim/v2/orgs/{one}", suite.base)).bearer_auth(&scim.token);
    let etag = request.try_clone().unwrap().send().await.unwrap().headers()[ETAG].to_str().unwrap().to_owned();
    let same = request.header("if-none-match", format!("W/\"other\", {etag}")).send().await.unwrap();
    assert_eq!((same.status(), same.headers()[ETAG].to_str().unwrap()), (StatusCode::NOT_MODIFIED, etag.as_str()), "one of a list");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_request_may_name_what_a_later_operation_makes() {
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    let scim = Directory::of(&suite, &ada, "acme").await;
    let bulk = json!({ "schemas": [BULK], "failOnErrors": 0, "Operations": [
        { "method": "PATCH", "path": "/Users/bulkId:u1", "data": { "schemas": [PATCH], "Operations": [{ "op": "add", "path": "displayName", "value": "Linus T" }] } },
        { "method": "POST", "path": "/Groups", "bulkId": "g1", "data": { "displayName": "Kernel", "members": [{ "value": "bulkId:u1" }] } },
        { "method": "post", "path": "/Users", "bulkId": "u1", "data": person("linus", "L") },
    ] });
    let (status, answer) = scim.post("acme/Bulk", bulk).await;
    let done = answer["Operations"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let statuses: Vec<_> = done.iter().map(|o| (o["bulkId"].as_str().unwrap_or_default(), o["status"].as_str().unwrap())).collect();
    assert_eq!((status, statuses), (200, vec![("u1", "201"), ("", "200"), ("g1", "201")]), "{answer}");
    let user = done[0]["location"].as_str().unwrap();
    assert_eq!(done[1]["location"].as_str(), Some(user), "{answer}");
    let (_, group) = scim.get("acme/Groups?filter=displayName+eq+%22kernel%22").await;
    assert!(user.ends_with(group["Resources"][0]["members"][0]["value"].as_str().unwrap()), "{group}");

    let circle = json!({ "schemas": [BULK], "Operations": [
        { "method": "POST", "path": "/Groups", "bulkId": "a", "data": { "displayName": "A", "members": [{ "value": "bulkId:b" }] } },
        { "method": "POST", "path": "/Groups", "bulkId": "b", "data": { "displayName": "B", "members": [{ "value": "bulkId:a" }] } },
        { "method": "DELETE", "path": "/Users/00000000-0000-0000-0000-000000000001" },
        { "method": "DELETE", "path": user.split("/acme/").nth(1).unwrap() },
    ] });
    let (_, answer) = scim.post("acme/Bulk", circle).await;
    let mut seen: Vec<_> = answer["Operations"].as_array().unwrap().iter().map(|o| (o["method"].as_str().unwrap(), o["status"].as_str().unwrap())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("DELETE", "204"), ("DELETE", "404"), ("POST", "409"), ("POST", "409")], "a circle cannot be made: {answer}");
    let mut gone = answer["Operations"].as_array().unwrap().iter().filter(|o| o["method"] == "DELETE");
    assert!(gone.all(|o| o["location"].as_str().is_some_and(|at| at.contains("/scim/v2/orgs/acme/Users/"))), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_puts_nobody_into_a_team_with_rights_beyond_the_organisation() {
    let suite = Suite::start().await;
    let [ada, bob, _] = suite.acme().await;
    let scim = Directory::of(&suite, &ada, "acme").await;
    let (_, me) = scim.get("acme/Users?filter=userName+eq+%22bob%22").await;
    let me = me["Resources"][0]["id"].as_str().unwrap();
    let (_, ops) = scim.post("acme/Groups", json!({ "displayName": "Ops" })).await;
    let (_, below) = scim.post("acme/Groups", json!({ "displayName": "Below" })).await;
    let (ops, below) = (ops["id"].as_str().unwrap(), below["id"].as_str().unwrap());
    let (one, two) = (format!("acme/Groups/{ops}"), format!("acme/Groups/{below}"));
    assert_eq!(scim.patch(&one, json!([{ "op": "add", "path": "members", "value": [{ "value": below }] }])).await.0, 200);
    let strong = json!({ "subject": format!("team:{ops}"), "role": "viewer" });
    assert_eq!(suite.post(&suite.admin().await, "/api/v1/bindings", strong).await.0, 201);
    for group in [&one, &two] {
        let (status, refused) = scim.patch(group, json!([{ "op": "add", "path": "members", "value": [{ "value": me }] }])).await;
        assert_eq!(status, 403, "{refused}");
        let put = json!({ "displayName": "X", "members": [{ "value": me }] });
        assert_eq!(scim.send(Method::PUT, group, Some(put), None).await.0, 403);
    }
    let (_, other) = scim.post("acme/Groups", json!({ "displayName": "Other", "members": [{ "value": me }] })).await;
    let more = json!([{ "op": "add", "path": "members", "value": [{ "value": other["id"] }] }]);
    assert_eq!(scim.patch(&one, more).await.0, 403, "nor a group with people in it");
    assert_eq!(suite.get(&bob, "/api/v1/policies/security").await.0, 403);
    // The same members again are no change, and taking out is always allowed.
    let same = json!({ "displayName": "Ops", "members": [{ "value": below }] });
    assert_eq!(scim.send(Method::PUT, &one, Some(same), None).await.0, 200);
    assert_eq!(scim.send(Method::PUT, &one, Some(json!({ "displayName": "Ops" })), None).await.0, 200);
    assert_eq!(scim.patch(&two, json!([{ "op": "add", "path": "members", "value": [{ "value": me }] }])).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn provisioning_takes_no_account_over_that_has_rights_elsewhere() {
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    let admin = suite.admin().await;
    assert_eq!(suite.post(&admin, "/api/v1/orgs", json!({ "name": "other" })).await.0, 201);
    let scim = Directory::of(&suite, &ada, "acme").await;
    let mut made = Vec::new();
    for name in ["grace", "linus", "hopper"] {
        let (status, user) = scim.post("acme/Users", person(name, name)).await;
        assert_eq!(status, 201, "{user}");
        made.push(format!("acme/Users/{}", user["id"].as_str().unwrap()));
    }
    let set = async |one: &str, path: &str, value: Value| scim.patch(one, json!([{ "op": "replace", "path": path, "value": value }])).await.0;
    let password = "Quartz-lantern_57 meadow";
    for one in &made {
        assert_eq!(set(one, "password", json!(password)).await, 200);
    }
    // One gets a role at the platform, one a seat in another organisation.
    assert_eq!(suite.post(&admin, "/api/v1/bindings", json!({ "subject": "grace", "role": "viewer" })).await.0, 201);
    assert_eq!(suite.put(&admin, "/api/v1/orgs/other/members/linus", json!({})).await, 204);
    for (one, status) in made.iter().zip([403, 403, 200]) {
        assert_eq!(set(one, "password", json!("Granite-whistle_82 harbour")).await, status, "{one}");
        assert_eq!(set(one, "emails", json!([{ "value": format!("{}@corp.example", one.rsplit('/').next().unwrap()), "primary": true }])).await, status);
        assert_eq!(set(one, "displayName", json!("X")).await, 200);
    }
    // Who was suspended by the platform stays so.
    assert_eq!(suite.patch(&admin, "/api/v1/users/hopper", json!({ "suspended": true, "reason": "stolen" })).await.0, 200);
    assert_eq!(set(&made[2], "active", json!(true)).await, 403);
    assert_eq!(suite.get(&admin, "/api/v1/users/hopper").await.1["state"], "suspended");
    // What is more than this organisation's is not erased with it.
    for one in &made {
        assert_eq!(scim.send(Method::DELETE, one, None, None).await.0, 204);
    }
    let left = async |name: &str| suite.get(&admin, &format!("/api/v1/users/{name}")).await.0;
    assert_eq!((left("grace").await, left("linus").await, left("hopper").await), (200, 200, 404));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_reads_back_what_it_wrote() {
    const URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    let scim = Directory::of(&suite, &ada, "acme").await;
    let mut sent = person("grace@corp.example", "X-1");
    sent["title"] = json!("Rear admiral");
    sent[URN] = json!({ "department": "Compilers" });
    let address = format!("{}/scim/v2/orgs/acme/Users?attributes=userName", suite.base);
    let request = suite.world.http.post(address).bearer_auth(&scim.token).header("accept", "application/json").body(sent.to_string());
    let response = request.send().await.unwrap();
    assert_eq!((response.status(), response.headers()[CONTENT_TYPE].to_str().unwrap()), (StatusCode::CREATED, "application/json"));
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert!(response.json::<Value>().await.unwrap().get("meta").is_none(), "only what was asked for");
    let one = format!("acme/Users/{}", location.rsplit('/').next().unwrap());
    let (_, read) = scim.get(&one).await;
    assert_eq!((&read["name"]["givenName"], &read["title"], &read[URN]["department"]), (&json!("Test"), &json!("Rear admiral"), &json!("Compilers")), "{read}");
    let entra = json!([
        { "op": "Replace", "path": "name.familyName", "value": "Hopper" },
        { "op": "Replace", "path": "name.formatted", "value": "Hopper, Grace" },
        { "op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "+1" },
        { "op": "Add", "path": format!("{URN}:manager"), "value": [{ "value": "42" }] },
        { "op": "Replace", "value": { format!("{URN}:department"): "Computers" } },
    ]);
    let (status, changed) = scim.patch(&one, entra).await;
    assert_eq!((status, &changed["name"]["familyName"], &changed["name"]["formatted"]), (200, &json!("Hopper"), &json!("Hopper, Grace")), "{changed}");
    assert_eq!((&changed["displayName"], &changed["phoneNumbers"]), (&json!("Test grace"), &json!([{ "value": "+1", "type": "mobile" }])), "{changed}");
    assert_eq!(changed[URN], json!({ "department": "Computers", "manager": { "value": "42" } }), "{changed}");
    assert_eq!(scim.names(&[("filter", &format!("{URN}:department eq \"computers\""))]).await, ["grace@corp.example"]);

    // Who is off is renamed, and stays off where nothing is said of it.
    let set = async |path: &str, value: Value| scim.patch(&one, json!([{ "op": "Replace", "path": path, "value": value }])).await;
    assert_eq!(set("active", json!("False")).await.1["active"], false);
    let (status, renamed) = set("displayName", json!("Grace H")).await;
    assert_eq!((status, &renamed["displayName"], &renamed["active"]), (200, &json!("Grace H"), &json!(false)), "{renamed}");
    let mut put = person("grace@corp.example", "X-1");
    put.as_object_mut().unwrap().remove("active");
    let (status, silent) = scim.send(Method::PUT, &one, Some(put), None).await;
    assert_eq!((status, &silent["active"], silent.get(URN)), (200, &json!(false), None), "{silent}");
    assert_eq!(set("active", json!("True")).await.1["active"], true);
    let (status, refused) = set("groups", json!([{ "value": "1" }])).await;
    assert_eq!((status, refused["scimType"].as_str()), (400, Some("mutability")), "{refused}");
    let (_, schemas) = scim.get("acme/Schemas").await;
    assert_eq!(schemas["totalResults"], 3, "{schemas}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_leaves_nothing_behind_and_who_is_erased_can_come_again() {
    let suite = Suite::start().await;
    let [ada, _, _] = suite.acme().await;
    let scim = Directory::of(&suite, &ada, "acme").await;
    let unique = |(status, answer): (u16, Value)| assert_eq!((status, answer["scimType"].as_str()), (409, Some("uniqueness")), "{answer}");
    let made = async |what: &str, body: Value| {
        let (status, made) = scim.post(&format!("acme/{what}"), body).await;
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    };
    made("Users", person("grace", "X-1")).await;
    unique(scim.post("acme/Users", person("linus", "X-1")).await);
    let linus = made("Users", person("linus", "X-2")).await;
    let both = json!([{ "op": "replace", "value": { "displayName": "L", "externalId": "X-1" } }]);
    unique(scim.patch(&format!("acme/Users/{linus}"), both).await);
    assert_eq!(scim.get(&format!("acme/Users/{linus}")).await.1["displayName"], "Test linus", "nothing of it was done");

    let below = made("Groups", json!({ "displayName": "Below" })).await;
    made("Groups", json!({ "displayName": "A", "externalId": "G-1", "members": [{ "value": below }] })).await;
    unique(scim.post("acme/Groups", json!({ "displayName": "B", "externalId": "G-1" })).await);
    let (status, refused) = scim.post("acme/Groups", json!({ "displayName": "B", "members": [{ "value": below }] })).await;
    assert_eq!((status, refused["scimType"].as_str()), (409, Some("mutability")), "{refused}");
    let second = format!("acme/Groups/{}", made("Groups", json!({ "displayName": "B" })).await);
    unique(scim.patch(&second, json!([{ "op": "replace", "path": "displayName", "value": "a" }])).await);
    assert_eq!(scim.patch(&second, json!([{ "op": "replace", "path": "displayName", "value": "b" }])).await.0, 200);

    assert_eq!(suite.delete(&suite.admin().await, "/api/v1/users/grace").await, 204);
    made("Users", person("grace", "X-1")).await;
}
