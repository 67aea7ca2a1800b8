use std::sync::Arc;

use gantry_kernel::{InstanceId, OrgId, ProjectId, SpaceId, Uuid};

use super::*;
use crate::domain::document::Document;
use crate::domain::engine::PodRoute;
use crate::domain::kubernetes;
use crate::domain::made::Stamps;
use crate::domain::model::{Model, Publish};
use crate::domain::observe::Phase;
use crate::domain::traffic::Traffic;

const SHOP: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web, tier: front}}, spec: {containers: [{name: c, image: x, ports: [{name: http, containerPort: 8080}]}]}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db}
spec: {selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: x, ports: [{name: sql, containerPort: 5432}, {name: admin, containerPort: 9000}]}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 8080}]}
"#;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn policy(text: &str) -> String {
    format!("---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: rule}}\nspec: {text}\n")
}

fn home(space: &str) -> Home {
    let id = |text: &str| Uuid::from_u128(text.bytes().map(u128::from).sum());
    let (org, of) = space.split_once('/').unwrap();
    Home { org: OrgId(id(org)), project: ProjectId(id("p")), space: SpaceId(id(space)), org_name: name(org), project_name: name("p"), space_name: name(of) }
}

/// `space`: `<organisation>/<space>`. Instances of the workloads have addresses 10.0.<n>.1, .2, ...
fn app(n: u8, app: &str, space: &str, document: &str) -> AppView {
    let reading = kubernetes::read(&Document::alone(document)).finish(true).unwrap_or_else(|r| panic!("{r:#?}"));
    view(n, app, space, reading.model)
}

fn view(n: u8, app: &str, space: &str, model: Model) -> AppView {
    let standing = |(at, workload): (usize, &Name)| Standing {
        id: InstanceId(Uuid::from_u128(u128::from(n) * 100 + at as u128)),
        workload: workload.clone(),
        index: 0,
        revision: 1,
        node: name("n1"),
        phase: Phase::Running,
        address: format!("10.0.{n}.{}", at + 1),
    };
    AppView {
        id: AppId(Uuid::from_u128(n.into())),
        name: name(app),
        home: home(space),
        current: 1,
        from: None,
        instances: model.workloads.keys().enumerate().map(standing).collect(),
        models: BTreeMap::from([(1, Arc::new(model))]),
        traffic: Traffic::default(),
    }
}

/// Everybody's isolation, by application and workload; none where there is none.
fn isolations(apps: &[&AppView]) -> BTreeMap<(String, String), Isolation> {
    let neighbourhood = Neighbourhood::of(apps, &Reports::new());
    let called = |id: AppId| apps.iter().find(|a| a.id == id).unwrap().name.to_string();
    neighbourhood.all().into_iter().map(|(app, _, workload, isolation)| ((called(app), workload.to_string()), isolation)).collect()
}

fn key(app: &str, workload: &str) -> (String, String) {
    (app.to_owned(), workload.to_owned())
}

fn shop(rule: &str) -> BTreeMap<(String, String), Isolation> {
    isolations(&[&app(1, "shop", "acme/test", &format!("{SHOP}{}", policy(rule)))])
}

/// Openings as text: `10.0.1.1,10.0.1.2 tcp/80-90`.
fn told(openings: &[Opening]) -> Vec<String> {
    let ports = |all: &BTreeSet<PortRange>| {
        all.iter().map(|p| if *p == PortRange::ALL { "all".into() } else { format!("{}/{}-{}", p.protocol, p.first, p.last) }).collect::<Vec<_>>().join(",")
    };
    let one = |o: &Opening| {
        let networks = if o.everywhere { "everywhere".into() } else { o.networks.iter().cloned().collect::<Vec<_>>().join(",") };
        let except = o.except.iter().map(|e| format!(" but {e}")).collect::<String>();
        format!("{networks}{except} {}", ports(&o.ports))
    };
    openings.iter().map(one).collect()
}

// Of the two workloads `db` has 10.0.1.1 and `web` has 10.0.1.2.

#[test]
fn without_a_policy_nothing_is_isolated() {
    let alone = app(1, "shop", "acme/test", SHOP);
    assert!(isolations(&[&alone]).is_empty());
    assert!(Neighbourhood::of(&[&alone], &Reports::new()).guarded().is_empty());
    // One that selects nobody is as none.
    assert!(shop("{podSelector: {matchLabels: {app: nobody}}}").is_empty());
}

#[test]
fn who_is_selected_takes_in_only_what_is_allowed() {
    let all = shop("{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {tier: front}}}], ports: [{port: 5432}]}]}");
    let (db, web) = (&all[&key("shop", "db")], &all[&key("shop", "web")]);
    assert_eq!(db.policies, ["shop/rule"]);
    assert_eq!(told(db.ingress.as_ref().unwrap()), ["10.0.1.2 tcp/5432-5432"]);
    assert!(db.egress.is_none(), "without types only what comes in is meant, if there are no rules for the other way");
    assert!(db.opened.is_empty(), "instances of one workload do not reach each other either");
    assert_eq!((web.ingress.is_none(), web.egress.is_none(), web.policies.is_empty()), (true, true, true));
    assert_eq!(told(&web.opened), ["10.0.1.1 tcp/5432-5432"]);
    assert!(web.refused.is_empty() && db.refused.iter().all(|id| id.contains(".db.")), "{db:#?}");
    assert_eq!(db.refused.len(), 1);
}

#[test]
fn an_empty_rule_allows_all_and_no_rule_allows_nothing() {
    let open = shop("{podSelector: {}, ingress: [{}]}");
    assert_eq!(told(open[&key("shop", "db")].ingress.as_ref().unwrap()), ["everywhere all"]);
    assert_eq!(told(&open[&key("shop", "web")].opened), ["10.0.1.1,10.0.1.2 all"]);
    for closed in ["{podSelector: {}}", "{podSelector: {}, ingress: []}", "{podSelector: {}, policyTypes: [Ingress]}"] {
        let all = shop(closed);
        let web = &all[&key("shop", "web")];
        assert_eq!((web.ingress.as_deref(), web.opened.len(), web.refused.len()), (Some(&[][..]), 0, 2), "{closed}");
    }
    let both = shop("{podSelector: {}, policyTypes: [Ingress, Egress]}");
    assert_eq!((both[&key("shop", "web")].egress.as_deref(), both[&key("shop", "web")].services.len()), (Some(&[][..]), 0));
    let out = shop("{podSelector: {}, policyTypes: [Egress], egress: [{}]}");
    let web = &out[&key("shop", "web")];
    assert_eq!((web.ingress.is_none(), told(web.egress.as_ref().unwrap()), web.services.len()), (true, vec!["everywhere all".to_owned()], 2));
}

#[test]
fn several_policies_allow_together_what_each_allows() {
    let first = policy("{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 5432}]}]}");
    let second = policy("{podSelector: {}, ingress: [{ports: [{protocol: UDP, port: 53}, {port: 80, endPort: 90}]}]}").replace("name: rule", "name: more");
    let all = isolations(&[&app(1, "shop", "acme/test", &format!("{SHOP}{first}{second}"))]);
    let db = &all[&key("shop", "db")];
    assert_eq!(db.policies, ["shop/more", "shop/rule"]);
    assert_eq!(told(db.ingress.as_ref().unwrap()), ["everywhere tcp/80-90,udp/53-53", "10.0.1.2 tcp/5432-5432"]);
    let web = &all[&key("shop", "web")];
    assert_eq!(told(&web.opened), ["10.0.1.1 tcp/80-90,tcp/5432-5432,udp/53-53", "10.0.1.2 tcp/80-90,udp/53-53"]);
}

#[test]
fn ports_have_names_protocols_and_ends() {
    let all = shop("{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: admin}, {port: nothing}, {protocol: SCTP}]}]}");
    assert_eq!(told(all[&key("shop", "db")].ingress.as_ref().unwrap()), ["everywhere sctp/0-65535,tcp/9000-9000"]);
    // A name that the selected do not have opens nothing, and not everything.
    let none = shop("{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: http}]}]}");
    assert_eq!(none[&key("shop", "db")].ingress.as_deref(), Some(&[][..]));
    // Of what goes out, it is the name that the others have.
    let out = shop("{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: sql}]}]}");
    let web = &out[&key("shop", "web")];
    assert_eq!(told(web.egress.as_ref().unwrap()), ["10.0.1.1 tcp/5432-5432"]);
    assert_eq!(web.services.iter().map(|id| id.contains(".db.")).collect::<Vec<_>>(), [true]);
}

#[test]
fn blocks_of_addresses_have_exceptions() {
    let all = shop(
        "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress, Egress], ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.1.0/24]}}]}], egress: [{to: [{ipBlock: {cidr: 10.0.1.0/24}}]}]}",
    );
    let (db, web) = (&all[&key("shop", "db")], &all[&key("shop", "web")]);
    assert_eq!(told(db.ingress.as_ref().unwrap()), ["10.0.0.0/8 but 10.0.1.0/24 all"]);
    assert!(web.opened.is_empty(), "its address is excepted");
    assert_eq!(told(db.egress.as_ref().unwrap()), ["10.0.1.0/24 all"]);
    assert!(db.services.iter().any(|id| id.contains(".web.")), "a service is what stands behind it");
    assert!(db.services.iter().all(|id| !id.contains(".db.")), "it may send there, but that takes nothing in");
}

#[test]
fn selectors_mean_the_policys_own_space_unless_spaces_are_named() {
    let rule = |from: &str| format!("{SHOP}{}", policy(&format!("{{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{{from: [{from}]}}]}}")));
    let others = [app(2, "near", "acme/test", SHOP), app(3, "far", "acme/live", SHOP), app(4, "alien", "other/live", SHOP)];
    let reaching = |from: &str| {
        let own = app(1, "shop", "acme/test", &rule(from));
        let all = isolations(&[&own, &others[0], &others[1], &others[2]]);
        let networks = all[&key("shop", "db")].ingress.iter().flatten().flat_map(|o| o.networks.clone());
        let seen: BTreeSet<String> = networks.collect();
        for (who, isolation) in &all {
            let own = isolation.opened.iter().any(|o| o.networks.contains("10.0.1.1"));
            let n = [("shop", 1), ("near", 2), ("far", 3), ("alien", 4)].into_iter().find(|(app, _)| *app == who.0).unwrap().1;
            let address = format!("10.0.{n}.{}", if who.1 == "db" { 1 } else { 2 });
            assert_eq!(own, seen.contains(&address), "{who:?} {from}: both ends say the same");
        }
        seen.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(reaching("{podSelector: {matchLabels: {app: web}}}"), ["10.0.1.2", "10.0.2.2"]);
    assert_eq!(reaching("{podSelector: {}}"), ["10.0.1.1", "10.0.1.2", "10.0.2.1", "10.0.2.2"]);
    assert_eq!(reaching("{namespaceSelector: {matchLabels: {gantry.io/space: live}}}"), ["10.0.3.1", "10.0.3.2"], "of the same organisation");
    assert_eq!(reaching("{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: live}}, podSelector: {matchLabels: {app: web}}}"), ["10.0.3.2"]);
    assert_eq!(reaching("{namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}"), ["10.0.1.2", "10.0.2.2", "10.0.3.2"]);
    assert_eq!(reaching("{podSelector: {matchExpressions: [{key: gantry.io/application, operator: In, values: [near]}]}}"), ["10.0.2.1", "10.0.2.2"]);
}

#[test]
fn a_policy_selects_all_of_its_space_and_nobody_of_another() {
    let own = app(1, "shop", "acme/test", &format!("{SHOP}{}", policy("{podSelector: {matchLabels: {app: db}}}")));
    let (near, far) = (app(2, "near", "acme/test", SHOP), app(3, "far", "acme/live", SHOP));
    let all = isolations(&[&own, &near, &far]);
    assert_eq!(all[&key("near", "db")].policies, ["shop/rule"]);
    assert!(all[&key("far", "db")].policies.is_empty() && all[&key("far", "db")].ingress.is_none());
    let guarded = Neighbourhood::of(&[&own, &near, &far], &Reports::new()).guarded();
    assert_eq!(guarded, ["10.0.1.1", "10.0.2.1"].map(|a| a.parse::<IpAddr>().unwrap()).into());
    // The guarded are guarded from everybody, whatever space that is in.
    assert_eq!(all[&key("far", "web")].refused.len(), 2);
}

#[test]
fn what_is_published_or_routed_is_open_to_everybody() {
    let text = format!("{SHOP}{}", policy("{podSelector: {}}"));
    let mut model = kubernetes::read(&Document::alone(&text)).finish(true).unwrap_or_else(|r| panic!("{r:#?}")).model;
    let web = model.services.iter_mut().find(|s| s.name.as_str() == "web").unwrap();
    web.publish = Some(Publish { wanted: 0, listen: 20080 });
    let all = isolations(&[&view(1, "shop", "acme/test", model)]);
    assert_eq!(told(all[&key("shop", "web")].ingress.as_ref().unwrap()), ["everywhere tcp/8080-8080"]);
    let db = &all[&key("shop", "db")];
    assert_eq!((told(&db.opened), db.refused.len()), (vec!["10.0.1.2 tcp/8080-8080".to_owned()], 1));
}

#[test]
fn the_policies_that_select_are_those_by_which_it_is_isolated() {
    let own = app(1, "shop", "acme/test", &format!("{SHOP}{}", policy("{podSelector: {matchLabels: {app: db}}}")));
    let model = &own.models[&1];
    let bound: Vec<Bound<'_>> = model.policies.iter().map(|(name, policy)| Bound { app: "shop", name, policy }).collect();
    let of = |workload: &str| {
        let seen = labels(&model.workloads[&name(workload)].labels, (own.id, "shop"), workload, "test");
        selecting(&bound, &seen).into_iter().map(|b| b.name.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((of("db"), of("web")), (vec!["rule".to_owned()], vec![]));
}

#[test]
fn what_was_worked_out_moves_only_for_those_whom_a_change_concerns() {
    let rule = policy("{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}");
    let mut shop = Arc::new(app(1, "shop", "acme/test", &format!("{SHOP}{rule}")));
    let mut other = Arc::new(app(2, "other", "acme/prod", SHOP));
    let (mut kept, routes) = (Isolated::default(), [PodRoute { node: name("n1"), address: "192.0.2.1".into(), pod_network: String::new() }]);
    let stamps = |kept: &Isolated, app: &AppView| app.instances.iter().map(|i| kept.stamp(app, i)).collect::<Vec<_>>();
    let made = |kept: &Isolated, app: &AppView| {
        let here: Vec<(&AppView, &Standing)> = app.instances.iter().map(|i| (app, i)).collect();
        Stamps::default().made(&here, &Reports::new(), kept)
    };
    kept.look(&[&shop, &other], &Reports::new(), &routes);
    let (own, others) = (stamps(&kept, &shop), stamps(&kept, &other));
    let (own_made, others_made) = (made(&kept, &shop), made(&kept, &other));
    assert!(own.iter().chain(&others).all(|stamp| *stamp > 0), "where somebody is guarded everybody is told");
    assert_eq!(kept.on(&shop.instances_on(&name("n1"), &Reports::new())).len(), 2);

    // Made anew, and whom nobody is kept from has another address.
    shop = Arc::new((*shop).clone());
    Arc::make_mut(&mut other).instances[1].address = "10.0.2.99".into();
    kept.look(&[&shop, &other], &Reports::new(), &routes);
    assert_eq!((stamps(&kept, &shop), stamps(&kept, &other)), (own.clone(), others.clone()));
    assert_eq!((made(&kept, &shop), made(&kept, &other)), (own_made.clone(), others_made.clone()));

    // The guarded one has another one: who may reach it is told how, and all who are told anything, that it is guarded there.
    Arc::make_mut(&mut shop).instances[0].address = "10.0.1.99".into();
    kept.look(&[&shop, &other], &Reports::new(), &routes);
    assert_eq!(stamps(&kept, &other), others);
    assert_ne!(stamps(&kept, &shop)[1], own[1]);
    assert!(kept.guarded().contains(&"10.0.1.99".parse::<IpAddr>().unwrap()));
    assert!(made(&kept, &shop) != own_made && made(&kept, &other) != others_made);

    kept.look(&[&other], &Reports::new(), &routes);
    assert_eq!((stamps(&kept, &other), kept.guarded().len(), kept.node_addresses().len()), (vec![0, 0], 0, 0), "without a policy nobody is");
}

#[test]
fn what_is_in_internal_networks_alone_reaches_its_space_and_nothing_else() {
    let text = "services:\n  db: {image: x, expose: ['5432'], networks: [back]}\n  web: {image: x, ports: ['80:80'], networks: [front, back]}\nnetworks: {front: {}, back: {internal: true}}\n";
    let read = |text: &str| crate::domain::compose::read(&Document::alone(text)).finish(true).unwrap_or_else(|r| panic!("{r:#?}")).model;
    let mut model = read(text);
    let (beside, other) = (app(2, "beside", "acme/test", SHOP), app(3, "other", "acme/production", SHOP));
    let all = isolations(&[&view(1, "shop", "acme/test", model.clone()), &beside, &other]);
    let db = &all[&key("shop", "db")];
    assert_eq!(told(db.egress.as_ref().unwrap()), ["10.0.1.1,10.0.1.2,10.0.2.1,10.0.2.2 all"]);
    assert!(db.ingress.is_none() && !db.services.is_empty(), "{db:#?}");
    assert!(db.services.iter().all(|id| !id.contains(&other.id.to_string())), "no name of another space: {:?}", db.services);
    assert!(all[&key("shop", "web")].egress.is_none(), "it has another network, too");
    // What a policy allows besides does not open it.
    let rule = policy(
        "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}, {podSelector: {matchLabels: {app: db}}}]}, {ports: [{port: 443}]}]}",
    );
    model.policies = app(9, "x", "acme/test", &format!("{SHOP}{rule}")).models[&1].policies.clone();
    let all = isolations(&[&view(1, "shop", "acme/test", model), &beside]);
    let to = told(all[&key("shop", "db")].egress.as_ref().unwrap());
    assert_eq!(to, ["10.0.2.1 all", "10.0.1.1,10.0.1.2,10.0.2.1,10.0.2.2 tcp/443-443"]);
    // The network that everybody is in who names none.
    let whole = read("services:\n  db: {image: x}\nnetworks: {default: {internal: true}}\n");
    assert!(isolations(&[&view(1, "shop", "acme/test", whole)])[&key("shop", "db")].egress.is_some());
}
