use super::super::balance::{Access, Layer7, Service, Shape};
use super::*;

fn shape(name: &str, space: &str, rules: Vec<Rule>) -> Shape {
    Shape {
        name: name.into(),
        http: true,
        algorithm: "roundrobin".into(),
        binds: BTreeSet::new(),
        routes: BTreeSet::new(),
        headers: Vec::new(),
        hold: String::new(),
        access: Access::default(),
        layer7: Layer7 { rules, space: space.into(), ..Layer7::default() },
    }
}

fn layout(shapes: impl IntoIterator<Item = Shape>) -> Layout {
    let services = shapes.into_iter().enumerate().map(|(n, shape)| (format!("svc-{n}"), Service { shape, slots: Vec::new() }));
    Layout { services: services.collect(), ..Layout::default() }
}

fn rule(host: &str, kind: PathKind, path: &str) -> Rule {
    Rule { asked: Match { host: host.into(), kind, path: path.into(), ..Match::default() }, ..Rule::default() }
}

fn valued(name: &str, value: &str, pattern: bool) -> Valued {
    Valued { name: name.into(), value: value.into(), pattern }
}

#[test]
fn plain_hosts_are_in_maps_and_an_exact_path_has_what_a_prefix_would() {
    let mut web = shape("web_1", "s", vec![rule("shop.test", PathKind::Exact, "/api"), rule("shop.test", PathKind::Exact, "/x/")]);
    web.routes.insert(("shop.test".into(), "/".into()));
    let mut api = shape("api_2", "s", Vec::new());
    // The first who has a path keeps it.
    api.routes.extend([("shop.test".to_owned(), "/api".to_owned()), ("shop.test".to_owned(), "/".to_owned())]);
    let layout = layout([web, api]);
    let rules = Rules::of(&layout);
    let (exact, prefix) = rules.maps();
    assert_eq!(exact, "shop.test/api web_1\nshop.test/x/ web_1\n");
    assert_eq!(prefix, "shop.test/ web_1\nshop.test/api/ api_2\n");
    assert_eq!(rules.following(), "");
    assert!(!rules.finding("/m").contains("acl"), "nothing is gone through");
}

#[test]
fn rules_are_asked_as_the_gateway_api_has_it() {
    let with = |change: &dyn Fn(&mut Match)| {
        let mut out = rule("shop.test", PathKind::Prefix, "/api");
        change(&mut out.asked);
        out
    };
    let all = [
        ("any", rule("", PathKind::Exact, "/api")),
        ("wild", rule("*.test", PathKind::Exact, "/api")),
        ("near", rule("*.shop.test", PathKind::Exact, "/api")),
        ("all", rule("shop.test", PathKind::Prefix, "")),
        ("one", with(&|_| {})),
        ("query", with(&|m| m.queries = vec![valued("a", "1", false)])),
        ("header", with(&|m| m.headers = vec![valued("A", "1", false)])),
        ("headers", with(&|m| m.headers = vec![valued("A", "1", false), valued("B", "1", false)])),
        ("method", with(&|m| m.method = "GET".into())),
        ("long", rule("shop.test", PathKind::Prefix, "/api/v1")),
        ("pattern", rule("shop.test", PathKind::Pattern, "/a.*")),
        ("exact", rule("shop.test", PathKind::Exact, "/a")),
    ];
    let layout = layout(all.into_iter().map(|(name, rule)| shape(name, "s", vec![rule])));
    let order: Vec<String> = Rules::of(&layout).0.into_iter().map(|g| g.name).collect();
    assert_eq!(order, ["exact", "pattern", "long", "method", "headers", "header", "query", "one", "all", "near", "wild", "any"]);
}

#[test]
fn a_host_that_is_asked_for_more_has_all_its_rules_in_the_list() {
    let mut odd = rule("shop.test", PathKind::Prefix, "/it's");
    odd.asked.method = "POST".into();
    odd.asked.headers = vec![valued("X-A", "}", false), valued("X-B", "a|b", true)];
    odd.asked.queries = vec![valued("q", "", false), valued("r", "x y", false)];
    let mut web = shape("web_1", "s", vec![odd, rule("shop.test", PathKind::Prefix, ""), rule("*.test", PathKind::Pattern, "^/v[0-9]")]);
    web.routes.insert(("other.test".into(), "/".into()));
    let layout = layout([web]);
    let rules = Rules::of(&layout);
    assert_eq!(rules.maps(), (String::new(), "other.test/ web_1\n".to_owned()));
    let text = rules.finding("/m");
    let expected = "  acl rule-1-0 var(txn.host) -m str -- 'shop.test'
  acl rule-1-1 var(txn.path),concat(/) -m beg -- '/it'\\''s/'
  acl rule-1-2 method POST
  acl rule-1-3 req.fhdr(X-A) -m bin -- 7d
  acl rule-1-4 req.fhdr(X-B) -m reg -- '^(?:a|b)$'
  acl rule-1-5 url_param(q) -m found
  acl rule-1-6 url_param(r),url_dec -m bin -- 782079
  http-request set-var(txn.rule) str(web_1) if !{ var(txn.rule) -m found } rule-1-0 rule-1-1 rule-1-2 rule-1-3 rule-1-4 rule-1-5 rule-1-6
";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("var(txn.host) -m end -- '.test'\n") && text.contains("-m reg -- '^(?:/v[0-9])'\n"), "{text}");
}

#[test]
fn services_of_one_space_share_a_rule_by_weight_and_others_get_nothing_of_it() {
    let weighed = |weight| Rule { weight: Some(weight), ..rule("shop.test", PathKind::Prefix, "") };
    let layout = layout([
        shape("a_1", "ours", vec![weighed(9)]),
        shape("b_2", "ours", vec![weighed(1)]),
        shape("none_3", "ours", vec![weighed(0)]),
        shape("theirs_4", "theirs", vec![weighed(100)]),
        shape("unsaid_5", "ours", vec![rule("shop.test", PathKind::Prefix, "")]),
    ]);
    let rules = Rules::of(&layout);
    assert_eq!(rules.maps().1, "shop.test/ rule-0\n");
    let own = "{ var(txn.rule) -m str rule-0 }";
    let expected = format!(
        "  http-request set-var(txn.dice) rand(1000000)
  http-request set-var(txn.to) str(a_1) if {own} {{ var(txn.to) -m str rule-0 }} {{ var(txn.dice) -m int lt 900000 }}
  http-request set-var(txn.to) str(b_2) if {own} {{ var(txn.to) -m str rule-0 }}
  http-request set-var(txn.to) str(a_1) if {own} {{ var(txn.to),nbsrv eq 0 }} {{ nbsrv(a_1) gt 0 }}
  http-request set-var(txn.to) str(b_2) if {own} {{ var(txn.to),nbsrv eq 0 }} {{ nbsrv(b_2) gt 0 }}
"
    );
    assert_eq!(rules.following(), expected);
}

#[test]
fn what_becomes_of_a_request_is_written_so_that_no_text_means_more() {
    let changed = |kind, path: &str, rewrite: &str| Rule { rewrite: rewrite.into(), ..rule("shop.test", kind, path) };
    let line = |rule: Rule| {
        let layout = layout([shape("web_1", "s", vec![rule])]);
        let text = Rules::of(&layout).following();
        text.lines().last().unwrap().trim().replace(" if { var(txn.rule) -m str rule-0 }", "")
    };
    assert_eq!(line(changed(PathKind::Prefix, "/a.b", "/")), r"http-request replace-path '^/a\.b/?(.*)$' '/\1'");
    assert_eq!(line(changed(PathKind::Prefix, "/a", "/new/")), r"http-request replace-path '^/a(/.*)?$' '/new\1'");
    assert_eq!(line(changed(PathKind::Prefix, "", r"/50%\1")), r"http-request replace-path '^(/.*)?$' '/50%%\\1\1'");
    assert_eq!(line(changed(PathKind::Exact, "/a", "/it's%")), r"http-request set-path '/it'\''s%%'");
    assert_eq!(line(changed(PathKind::Pattern, "/a/(.*)", r"/b/\1")), r"http-request replace-path '^(?:/a/(.*))' '/b/\1'");
    let set = Rule { set_headers: BTreeMap::from([("X-A".into(), "%[src] it's".into())]), ..rule("shop.test", PathKind::Prefix, "") };
    assert_eq!(line(set), r"http-request set-header X-A '%%[src] it'\''s'");
    let without = Rule { set_headers: BTreeMap::from([("X-A".into(), String::new())]), ..rule("shop.test", PathKind::Prefix, "") };
    assert_eq!(line(without), "http-request del-header X-A");
    let limited = Rule { timeout_ms: 500, ..rule("shop.test", PathKind::Prefix, "") };
    assert_eq!(line(limited), "http-request set-var(txn.limit) int(500)");
}
