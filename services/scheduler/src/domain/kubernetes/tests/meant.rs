//! What objects mean together, and what a tool does with them before they come to a cluster.

use super::*;

/// A Deployment and its Service, with the port 80.
fn web() -> String {
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n---\n";
    format!("{}{service}", deployment("", ""))
}

#[test]
fn an_object_whose_name_is_to_be_generated_has_the_beginning_of_it() {
    let text = "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: load-}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}\n";
    assert!(refusals(text).iter().any(|d| d.contains("`load`")), "{:?}", refusals(text));
    let (model, _) = model(text);
    assert!(model.workloads.contains_key(&Name::parse("load").unwrap()));
}

#[test]
fn a_route_without_hosts_has_those_of_its_listeners() {
    let hosts = |listeners: &str, parent: &str| {
        let text = format!(
            "{}apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: edge}}\nspec: {{listeners: [{listeners}]}}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: web}}\nspec: {{parentRefs: [{{name: edge{parent}}}], rules: [{{backendRefs: [{{name: web, port: 80}}]}}]}}\n",
            web()
        );
        reading(&text).model.services.iter().flat_map(|s| &s.routes).map(|r| r.host.clone()).collect::<Vec<_>>()
    };
    let (one, two) = ("{name: a, protocol: HTTP, port: 80, hostname: a.test}", "{name: b, protocol: HTTP, port: 80, hostname: b.test}");
    assert_eq!(hosts(&format!("{one}, {two}"), ""), ["a.test", "b.test"]);
    assert_eq!(hosts(&format!("{one}, {two}"), ", sectionName: b"), ["b.test"]);
    assert_eq!(hosts(&format!("{one}, {{name: all, protocol: HTTP, port: 80}}"), ""), [""], "one of them serves all hosts");
}

#[test]
fn routes_are_served_over_https_as_ingresses_and_listeners_say() {
    let ingress = format!(
        "{}apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: web}}\nspec:\n  tls: [{{hosts: [a.test]}}]\n  rules:\n  - {{host: a.test, http: {{paths: [{{path: /, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}\n  - {{host: b.test, http: {{paths: [{{path: /, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}\n",
        web()
    );
    let seen = |text: &str| {
        let routes = reading(text).model.services[0].routes.clone();
        routes.into_iter().map(|r| (r.host, r.tls_secret, r.tls, r.plain_http)).collect::<Vec<_>>()
    };
    let route = |host: &str, secret: &str, tls, plain_http| (host.to_owned(), secret.to_owned(), tls, plain_http);
    assert_eq!(seen(&ingress), [route("a.test", "", true, false), route("b.test", "", false, false)]);
    let listened = |section: &str| {
        format!(
            "{}apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: edge}}\nspec: {{listeners: [{{name: plain, protocol: HTTP, port: 80}}, {{name: safe, protocol: HTTPS, port: 443, hostname: '*.test', tls: {{certificateRefs: [{{name: cert}}]}}}}]}}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: web}}\nspec: {{hostnames: [a.test, a.example], parentRefs: [{{name: edge{section}}}], rules: [{{backendRefs: [{{name: web, port: 80}}]}}]}}\n",
            web()
        )
    };
    assert_eq!(seen(&listened("")), [route("a.test", "cert", false, true), route("a.example", "", false, false)]);
    assert_eq!(seen(&listened(", sectionName: safe"))[0], route("a.test", "cert", false, false));
}

#[test]
fn a_rule_without_paths_leads_to_what_is_left_over() {
    let text = |backend: &str| {
        format!("{}apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: web}}\nspec: {{{backend}rules: [{{host: a.test}}]}}\n", web())
    };
    let read = reading(&text("defaultBackend: {service: {name: web, port: {number: 80}}}, "));
    assert_eq!(read.model.services[0].routes.iter().map(|r| r.host.as_str()).collect::<Vec<_>>(), ["", "a.test"]);
    assert!(refusals(&text("")).iter().any(|d| d.contains("nowhere")));
}

#[test]
fn what_helm_makes_at_a_certain_moment_is_told() {
    let text = format!(
        "{}apiVersion: v1\nkind: Pod\nmetadata:\n  name: test\n  annotations:\n    helm.sh/hook: test\nspec: {{restartPolicy: Never, containers: [{{name: c, image: x}}]}}\n",
        web()
    );
    let line = text.lines().position(|l| l.contains("helm.sh/hook")).unwrap() as u64 + 1;
    assert!(lines(&text).iter().any(|(at, level, _)| (*at, *level) == (line, Level::Unsupported)), "{:?}", lines(&text));
}

#[test]
fn a_path_that_is_matched_as_a_whole_is_replaced_as_a_whole() {
    let route = |kind: &str| {
        format!(
            "{}apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: web}}\nspec: {{hostnames: [a.test], rules: [{{matches: [{{path: {{type: {kind}, value: /x}}}}], filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: ReplaceFullPath, replaceFullPath: /y}}}}}}], backendRefs: [{{name: web, port: 80}}]}}]}}\n",
            web()
        )
    };
    assert!(refusals(&route("Exact")).is_empty(), "{:?}", refusals(&route("Exact")));
    assert!(refusals(&route("PathPrefix")).iter().any(|d| d.contains("as a whole")));
    let text = export(&reading(&route("Exact")).model);
    assert!(text.contains("replaceFullPath: /y") && !text.contains("ReplacePrefixMatch"), "{text}");
}
