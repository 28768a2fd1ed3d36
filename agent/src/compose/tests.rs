//! Tests of the loader as a whole: what a file becomes, and what is refused where.

use super::model::*;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Policies of tests.
pub(super) struct HostPolicyForTests;

impl HostPolicyForTests {
    /// Permits binds below /srv/lab.
    pub(super) fn lab() -> HostPolicy {
        HostPolicy { bind_roots: vec![PathBuf::from("/srv/lab")], ..Default::default() }
    }

    /// Permits everything there is a setting for.
    pub(super) fn all() -> HostPolicy {
        HostPolicy {
            bind_roots: vec![PathBuf::from("/srv/lab")],
            privileged: true,
            host_namespaces: true,
            devices: vec!["/dev/ttyUSB".to_owned()],
            capabilities: vec!["ALL".to_owned()],
            unconfined: true,
        }
    }
}

fn environment() -> BTreeMap<String, String> {
    [("SET", "set"), ("EMPTY", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
}

fn try_load(text: &str) -> Result<Loaded, Problems> {
    load_str(text, Path::new("/nonexistent"), &environment(), &HostPolicyForTests::lab())
}

fn loaded(text: &str) -> Loaded {
    try_load(text).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

/// Loads a file with one service `a` that has these attributes besides its image.
fn service(attributes: &str) -> Service {
    loaded(&one(attributes)).project.services.remove("a").unwrap()
}

fn one(attributes: &str) -> String {
    format!(
        "services: {{a: {{image: x, {attributes}}}, b: {{image: x}}}}\nvolumes: {{data: }}\n\
         networks: {{net: {{ipam: {{config: [{{subnet: 10.9.0.0/16}}]}}}}}}\n\
         configs: {{c: {{content: text}}}}\nsecrets: {{s: {{file: /srv/lab/s}}}}\n"
    )
}

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn map(items: &[(&str, &str)]) -> BTreeMap<String, String> {
    items.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

mod refused;
mod understood;

#[test]
fn the_corpus_is_accepted() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/compose/corpus");
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let dir = entry.unwrap().path();
        let loaded = load(&dir, &BTreeMap::new(), &HostPolicyForTests::lab())
            .unwrap_or_else(|problems| panic!("{}: {problems}", dir.display()));
        assert!(!loaded.project.services.is_empty(), "{}", dir.display());
        count += 1;
    }
    assert!(count >= 45, "only {count} files");
}

#[test]
fn a_report_tells_everything() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("compose.yaml");
    let check = || check_path(dir.path(), &environment(), &HostPolicy::default());
    assert!(check().problems[0].message.contains("compose.yaml"), "{:?}", check());
    std::fs::write(
        &file,
        "services:\n  a:\n    image: ${IMAGE:?which?}\n    build: .\n    privileged: true\n",
    )
    .unwrap();
    let report = check();
    assert!(!report.accepted && report.project.is_none());
    let places: Vec<_> =
        report.problems.iter().map(|p| (p.path.as_str(), p.line, p.kind)).collect();
    assert_eq!(
        places,
        [
            ("services.a.image", 3, ProblemKind::Invalid),
            ("services.a.build", 4, ProblemKind::Unsupported),
            ("services.a.privileged", 5, ProblemKind::NotPermitted),
        ]
    );
    std::fs::write(&file, "name: x\nservices:\n  a:\n    image: x\n").unwrap();
    let report = check_path(&file, &environment(), &HostPolicy::default());
    assert!(report.accepted && report.problems.is_empty());
    assert_eq!(report.warnings[0].path, "name");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["project"]["services"]["a"]["image"], "x");
}

#[test]
fn files_are_read_from_the_archive_only() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("app");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(outer.path().join("outside.env"), "A=1").unwrap();
    std::fs::write(dir.join("inside.env"), "A=${SET}\nB=$FROM_DOT").unwrap();
    std::fs::write(dir.join(".env"), "FROM_DOT=dot\nSET=loses\n").unwrap();
    std::os::unix::fs::symlink(outer.path().join("outside.env"), dir.join("link.env")).unwrap();
    let load_with = |env_file: &str| {
        std::fs::write(
            dir.join("compose.yaml"),
            format!("services: {{a: {{image: x, env_file: '{env_file}'}}}}"),
        )
        .unwrap();
        load(&dir, &environment(), &HostPolicy::default())
    };
    let service = load_with("./inside.env").unwrap().project.services.remove("a").unwrap();
    let expected =
        map(&[("A", "set"), ("B", "dot")]).into_iter().map(|(k, v)| (k, Some(v))).collect();
    assert_eq!(service.environment, expected);
    for (path, part) in [
        ("../outside.env", "stays inside"),
        ("/etc/passwd", "stays inside"),
        ("link.env", "leads out"),
        ("absent.env", "no file"),
        (".", "names no file"),
    ] {
        let problems = load_with(path).unwrap_err();
        assert_eq!(problems.0.len(), 1);
        assert_eq!(problems.0[0].path, "services.a.env_file");
        assert!(problems.0[0].message.contains(part), "{path}: {problems}");
    }
    std::fs::write(dir.join("big.env"), "#".repeat(300 << 10)).unwrap();
    assert!(load_with("big.env").unwrap_err().0[0].message.contains("longer than"));
    std::fs::write(dir.join("bad.env"), "A='").unwrap();
    assert!(load_with("bad.env").unwrap_err().0[0].message.contains("line 1"));
    std::fs::write(dir.join("latin.env"), [b'A', b'=', 0xe9]).unwrap();
    assert!(load_with("latin.env").unwrap_err().0[0].message.contains("UTF-8"));
    std::fs::write(dir.join(".env"), "A B=1").unwrap();
    let problems = load_with("./inside.env").unwrap_err();
    assert!(problems.0[0].message.contains("`.env`"), "{problems}");
}

#[test]
fn the_agents_own_environment_is_not_seen() {
    // PATH is set in every process, and not in the parameters.
    let loaded = loaded(&one("command: ['$PATH'], environment: [PATH]"));
    assert_eq!(loaded.project.services["a"].command, Some(strings(&[""])));
    assert_eq!(loaded.project.services["a"].environment["PATH"], None);
    assert_eq!(loaded.warnings[0].path, "services.a.command[0]");
}

#[test]
fn counts_are_limited() {
    let many: String = (0..65).map(|n| format!("s{n}: {{image: x}}, ")).collect();
    let problems = try_load(&format!("services: {{{many}}}")).unwrap_err();
    assert!(problems.0[0].path == "services" && problems.0[0].message.contains("65"), "{problems}");
    let long = "x, ".repeat(1100);
    let problems = try_load(&one(&format!("command: [{long}]"))).unwrap_err();
    assert!(problems.0[0].message.contains("1100 entries"), "{problems}");
}

fn yaml_like() -> impl Strategy<Value = String> {
    let key = prop::sample::select(
        KEYS.iter().map(|key| key.path.rsplit('.').next().unwrap_or("x")).collect::<Vec<_>>(),
    );
    let leaf = prop_oneof![
        "[a-z0-9:/.$\\{\\}?-]{0,12}",
        Just("1".to_owned()),
        Just("true".to_owned()),
        Just("[a, 1, {b: c}]".to_owned()),
        Just("{a: 1, b: [x]}".to_owned()),
        Just("!x y".to_owned()),
        Just("&a [*a]".to_owned()),
    ];
    prop::collection::vec((0_usize..8, key, leaf), 0..20).prop_map(|lines| {
        let mut text = "services:\n  a:\n    image: x\n".to_owned();
        for (indent, key, leaf) in lines {
            text.push_str(&format!("{}{key}: {leaf}\n", "  ".repeat(indent)));
        }
        text
    })
}

proptest! {
    #[test]
    fn any_text_never_panics(text in any::<String>()) {
        let _ = try_load(&text);
    }

    #[test]
    fn yaml_like_text_never_panics(text in yaml_like()) {
        let _ = try_load(&text);
    }

    #[test]
    fn one_attribute_of_any_shape_never_panics(
        key in prop::sample::select(KEYS.iter().filter_map(|key| key.path.strip_prefix("services.*.")).filter(|key| !key.contains(['.', '['])).collect::<Vec<_>>()),
        value in "(\\[[a-z0-9:/ ,.-]{0,12}\\]|\\{[a-z]{1,5}: [a-z0-9./:-]{0,8}\\}|[a-z0-9:/.-]{0,16}|~|-?[0-9]{1,20}|true)",
    ) {
        if let Err(problems) = try_load(&one(&format!("{key}: {value}"))) {
            for problem in &problems.0 {
                prop_assert!(problem.line > 0 && !problem.message.is_empty(), "{}", problem);
            }
        }
    }
}
