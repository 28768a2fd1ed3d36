//! Tests of `super`.

use super::*;

fn flat(node: &Node) -> String {
    match &node.value {
        Value::Null => "~".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => format!("f{value}"),
        Value::Str(value) => format!("{value:?}"),
        Value::Seq(items) => format!("[{}]", items.iter().map(flat).collect::<Vec<_>>().join(",")),
        Value::Map(entries) => {
            let inner: Vec<_> =
                entries.iter().map(|(key, node)| format!("{key}:{}", flat(node))).collect();
            format!("{{{}}}", inner.join(","))
        }
    }
}

#[test]
fn documents_become_trees() {
    for (text, expected) in [
        ("a: 1\nb: [x, 'y', \"z\", 1.5, true, null]\n", r#"{a:1,b:["x","y","z",f1.5,true,~]}"#),
        ("a:\n", "{a:~}"),
        ("a: |\n  one\n  two\n", r#"{a:"one\ntwo\n"}"#),
        ("a: '1'\nb: !!str 1\nc: !!int 1\nd: ! 1\n", r#"{a:"1",b:"1",c:1,d:"1"}"#),
        ("a: !!float 1\n", "{a:f1}"),
        ("a: !!map {b: !!seq [1]}\n", "{a:{b:[1]}}"),
        ("a: &x [1, 2]\nb: *x\n", "{a:[1,2],b:[1,2]}"),
        ("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\n", "{a:{p:1,q:2},b:{q:3,p:1}}"),
        (
            "a: &x {p: 1}\nb: &y {p: 2, r: 4}\nc:\n  <<: [*x, *y]\n",
            "{a:{p:1},b:{p:2,r:4},c:{p:1,r:4}}",
        ),
        ("a: &x {p: 1}\nb: &y {<<: *x, q: 2}\nc: {<<: *y}\n", "{a:{p:1},b:{q:2,p:1},c:{q:2,p:1}}"),
        ("<<: {a: 1}\nb: 2\n", "{b:2,a:1}"),
        ("\u{feff}---\na: 1\n...\n", "{a:1}"),
        ("a: &x 1\nb: *x\na2: &x 2\nc: *x\n", "{a:1,b:1,a2:2,c:2}"),
        ("a: 'on'\non: off\n", r#"{a:"on",on:"off"}"#),
    ] {
        assert_eq!(parse(text).map(|node| flat(&node)), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn places_are_lines_and_columns_from_one() {
    let root = parse("a: 1\nb:\n  - c: x\n").unwrap();
    let Value::Map(entries) = &root.value else { panic!() };
    assert_eq!((entries[0].1.line, entries[0].1.column), (1, 4));
    let Value::Seq(items) = &entries[1].1.value else { panic!() };
    let Value::Map(inner) = &items[0].value else { panic!() };
    assert_eq!((inner[0].1.line, inner[0].1.column), (3, 8));
}

#[test]
fn errors_name_path_and_place() {
    for (text, path, place, part) in [
        ("a: 1\na: 2\n", "", (2, 1), "given twice"),
        ("a:\n  b: {c: 1, c: 2}\n", "a.b", (2, 13), "given twice"),
        ("a:\n  - 1\n  - !reset null\n", "a[1]", (3, 12), "`!reset`"),
        ("a: !override [1]\n", "a", (1, 14), "`!override`"),
        ("a: !!binary aGk=\n", "a", (1, 13), "tag"),
        ("8080: x\n", "", (1, 1), "not a string"),
        ("true: x\n", "", (1, 1), "not a string"),
        ("? [a]\n: x\n", "", (1, 3), "cannot be a key"),
        ("a: &x [*x]\n", "a[0]", (1, 8), "inside the thing"),
        ("a: {<<: 1}\n", "a", (1, 9), "takes a map"),
        ("a: !!int x\n", "a", (1, 10), "not what its tag"),
        ("a: 2001-01-01\n", "a", (1, 4), "quotes"),
        ("a: 1\n---\nb: 2\n", "", (2, 1), "second YAML document"),
        ("", "", (0, 0), "empty"),
        ("# only a comment\n", "", (0, 0), "empty"),
    ] {
        let problem = parse(text).unwrap_err();
        assert!(problem.message.contains(part), "{text:?}: {problem}");
        assert_eq!(
            (problem.path.as_str(), (problem.line, problem.column)),
            (path, place),
            "{text:?}: {problem}"
        );
    }
}

#[test]
fn broken_yaml_is_refused_with_its_place() {
    for text in [
        "a: [1, 2\n",
        "a: {b\n",
        "a: \"x\n",
        "a: *nowhere\n",
        "a\n  b: c\n d: e\n",
        "a: @x\n",
        "a: b: c\n",
    ] {
        let problem = parse(text).unwrap_err();
        assert_eq!(problem.kind, ProblemKind::Invalid, "{text:?}");
        assert!(problem.line > 0, "{text:?}: {problem}");
    }
}

#[test]
fn size_depth_count_and_bombs_are_limited() {
    let long = "a".repeat(FILE_BYTES_MAX + 1);
    assert!(parse(&long).unwrap_err().message.contains("at most"));
    for deep in ["[".repeat(DEPTH_MAX + 1), "[".repeat(2000), "{a: ".repeat(DEPTH_MAX + 1)] {
        let problem = parse(&deep).unwrap_err();
        assert!(
            problem.message.contains("deep") || problem.message.contains("not YAML"),
            "{problem}"
        );
    }
    let wide = format!("[{}]", "1,".repeat(NODES_MAX + 1));
    assert!(parse(&wide).unwrap_err().message.contains("values"));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let below = format!("*a{},", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert!(parse(&bomb).unwrap_err().message.contains("aliases repeat"));
    let text_bomb = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a,".repeat(100));
    assert!(parse(&text_bomb).unwrap_err().message.contains("bytes of text"));
    let mut nested = "a0: &a0 [1]\n".to_owned();
    for level in 1..40 {
        nested.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(parse(&nested).unwrap_err().message.contains("deep"));
}
