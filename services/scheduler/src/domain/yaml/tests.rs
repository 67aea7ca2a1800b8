use proptest::prelude::*;

use super::*;

#[test]
fn every_node_knows_its_line() {
    let docs = parse("a: 1\nb:\n  - x\n  - y: 3000:3000\n    z: ~\n---\nc: yes\n").unwrap();
    assert_eq!(docs.len(), 2);
    let b = docs[0].get("b").unwrap();
    assert_eq!(b.list().unwrap()[0].line, 3);
    let second = &b.list().unwrap()[1];
    assert_eq!(second.entries().unwrap()[0].line, 4);
    assert_eq!(second.get("y").unwrap().scalar().unwrap(), "3000:3000");
    assert_eq!(second.get("z").unwrap().value, Value::Null);
    assert_eq!(docs[1].get("c").unwrap().boolean(), Some(true));
}

#[test]
fn anchors_and_merges_are_followed() {
    let docs = parse("base: &b {x: 1, y: 2}\nmore: &m {y: 7, w: 8}\nuse:\n  <<: [*b, *m]\n  y: 3\n").unwrap();
    let used = docs[0].get("use").unwrap();
    let of = |key: &str| used.get(key).unwrap().integer();
    assert_eq!((of("x"), of("y"), of("w")), (Some(1), Some(3), Some(8)));
    let tagged = parse("base: &b {x: 1}\nuse:\n  !!merge <<: *b\n").unwrap();
    assert_eq!(tagged[0].get("use").and_then(|u| u.get("x")).and_then(Node::integer), Some(1));
}

#[test]
fn the_truth_words_of_yaml_1_1_are_known_where_one_is_meant() {
    let docs = parse("a: Yes\nb: ON\nc: n\nd: Off\ne: maybe\n").unwrap();
    let of = |key: &str| docs[0].get(key).unwrap().boolean();
    assert_eq!([of("a"), of("b"), of("c"), of("d"), of("e")], [Some(true), Some(true), Some(false), Some(false), None]);
    assert_eq!(docs[0].get("a").unwrap().scalar().as_deref(), Some("Yes"), "a text stays what it is");
}

#[test]
fn documents_of_comments_alone_are_none() {
    assert_eq!(parse("# a\n---\n# b\n---\na: 1\n---\n# c\n").unwrap().len(), 1);
    assert!(parse("# nothing\n").unwrap().is_empty());
}

#[test]
fn a_broken_document_names_the_place() {
    for (text, line) in [("a: 1\nb: 2\na: 2\n", 3), ("b: 1\na: !foo 1\n", 2), ("a: &x [*x]\n", 1), ("[a]: 1\n", 1), ("a: *no\n", 1)] {
        let broken = parse(text).unwrap_err();
        assert_eq!(broken.line, line, "{text:?}: {broken:?}");
    }
    for text in ["a: [1, 2\nb: 3\n", "a:\n\t- b\n", "a: 'x\n", "a: b: c\n"] {
        let broken = parse(text).unwrap_err();
        assert!((1..=3).contains(&broken.line) && broken.detail.contains("YAML"), "{text:?}: {broken:?}");
    }
}

#[test]
fn plain_values_are_read_as_yaml_1_2_has_them() {
    let read = |text: &str| parse(&format!("v: {text}")).unwrap()[0].get("v").unwrap().value.clone();
    let text = |t: &str| Value::Text(t.into());
    for (from, to) in [
        ("0440", text("0440")),
        ("0o10", Value::Int(8)),
        ("0x10", Value::Int(16)),
        ("1_000", text("1_000")),
        ("no", text("no")),
        ("True", Value::Bool(true)),
        ("1e3", Value::Float("1e3".into())),
        ("1.10", Value::Float("1.10".into())),
        ("1.2.3", text("1.2.3")),
        (".inf", text(".inf")),
        ("99999999999999999999", text("99999999999999999999")),
        ("22:22", text("22:22")),
        ("!!str 5", text("5")),
        ("'5'", text("5")),
    ] {
        assert_eq!(read(from), to, "{from}");
    }
}

#[test]
fn bombs_and_deep_nesting_are_refused() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    let mut chain = String::from("a0: &a0 [x]\n");
    for n in 1..12 {
        laughs += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
    }
    for n in 1..5_000 {
        chain += &format!("a{n}: &a{n} [*a{}]\n", n - 1);
    }
    for text in [laughs, chain, "[".repeat(10_000), "- ".repeat(10_000), format!("a: {}{}", "{b: ".repeat(300), "}".repeat(300))] {
        assert!(parse(&text).is_err());
    }
}

#[test]
fn tags_of_compose_are_kept() {
    let docs = parse("a: !reset null\nb: !override [x]\nc: !reset\n  - y\n").unwrap();
    let tags: Vec<Tag> = docs[0].entries().unwrap().iter().map(|e| e.node.tag).collect();
    assert_eq!(tags, [Tag::Reset, Tag::Override, Tag::Reset]);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
        "[a \\n\\t:#'\"|>~0-9.-]{0,12}".prop_map(Into::into),
        prop_oneof![Just("yes"), Just("0440"), Just("1e3"), Just("<<"), Just("null"), Just(""), Just("~"), Just("- a"), Just("2026-01-01")]
            .prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::btree_map("[a-z .:/#0-9]{1,8}", inner, 0..5).prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in json()) {
        let text = to_yaml(&serde_json::json!({ "v": value }));
        let read = parse(&text).unwrap_or_else(|b| panic!("{b:?} in\n{text}"));
        prop_assert_eq!(read[0].get("v").unwrap().json(), value, "{}", text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(a|: |\n|  |- |\\[|\\]|\\{|\\}|&a|\\*a|<<: |\"|'|#|\t|!x |\\||>|---\n|,){0,60}") {
        let _ = parse(&text);
    }
}
