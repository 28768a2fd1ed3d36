//! Tests of `super`.

use super::super::yaml;
use super::*;
use proptest::prelude::*;

fn environment() -> BTreeMap<String, String> {
    [("A", "a"), ("B", "b"), ("EMPTY", ""), ("_x1", "under"), ("DOLLAR", "$A")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[test]
fn every_form_expands() {
    for (text, expected) in [
        ("plain", "plain"),
        ("$A", "a"),
        ("$A$B", "ab"),
        ("$A.x", "a.x"),
        ("${A}", "a"),
        ("${A}b", "ab"),
        ("$Ab", ""),
        ("$_x1", "under"),
        ("$$A", "$A"),
        ("$$$A", "$a"),
        ("$${A}", "${A}"),
        ("$DOLLAR", "$A"),
        ("${A:-x}", "a"),
        ("${A-x}", "a"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${NO:-x}", "x"),
        ("${NO-x}", "x"),
        ("${NO:-}", ""),
        ("${NO:-$A}", "a"),
        ("${NO:-${A}}", "a"),
        ("${NO:-${NEITHER:-deep}}", "deep"),
        ("${NO:-${NEITHER:-${A}b}c}d", "abcd"),
        ("${NO:-{x}}", "{x}"),
        ("${NO:-$$}", "$"),
        ("${A:+x}", "x"),
        ("${A+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${NO:+x}", ""),
        ("${NO+x}", ""),
        ("${A:?no}", "a"),
        ("${A?no}", "a"),
        ("${EMPTY?no}", ""),
        ("${A:-${NO:?never}}", "a"),
        ("${NO:-a:b?c-d+e}", "a:b?c-d+e"),
        ("${NO:-a b}", "a b"),
        ("${NO:-é}ü", "éü"),
        ("$", "$"),
        ("a$", "a$"),
        ("$ A $5 $- $(date)", "$ A $5 $- $(date)"),
        ("${NO:-$}", "$"),
        ("${NO:-}}", "}"),
    ] {
        let mut unset = BTreeSet::new();
        assert_eq!(expand(text, &environment(), &mut unset), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn malformed_references_are_errors() {
    for text in [
        "${",
        "${}",
        "${A",
        "${1}",
        "${A!}",
        "${A:}",
        "${A:x}",
        "${ A}",
        "${A }",
        "${NO:-${}",
        "${A:-${1}}",
        "${-x}",
    ] {
        let error = expand(text, &environment(), &mut BTreeSet::new());
        assert!(matches!(error, Err(Error::Malformed(_))), "{text}: {error:?}");
    }
}

#[test]
fn required_names_without_value_are_errors() {
    for (text, name, reason) in [
        ("${NO:?set it}", "NO", "set it"),
        ("${NO?}", "NO", ""),
        ("${EMPTY:?x}", "EMPTY", "x"),
        ("${NO:?see $A}", "NO", "see a"),
        ("${OTHER:-${NO?in}}", "NO", "in"),
        ("x${A}${NO?late}", "NO", "late"),
    ] {
        let expected = Error::Missing { name: name.to_owned(), reason: reason.to_owned() };
        assert_eq!(expand(text, &environment(), &mut BTreeSet::new()), Err(expected), "{text}");
    }
}

#[test]
fn unset_names_are_noted_only_where_used() {
    for (text, expected) in [
        ("$NO", vec!["NO"]),
        ("${NO}${X}", vec!["NO", "X"]),
        ("${A:-$NO}", vec![]),
        ("${NO:-$X}", vec!["X"]),
        ("${NO:+$X}", vec![]),
        ("$EMPTY", vec![]),
    ] {
        let mut unset = BTreeSet::new();
        expand(text, &environment(), &mut unset).unwrap();
        assert_eq!(unset.into_iter().collect::<Vec<_>>(), expected, "{text}");
    }
}

#[test]
fn growth_and_nesting_are_limited() {
    let big: BTreeMap<_, _> = [("A".to_owned(), "x".repeat(10_000))].into();
    assert_eq!(expand(&"$A".repeat(200), &big, &mut BTreeSet::new()), Err(Error::TooLong));
    let deep = format!("{}x{}", "${NO:-".repeat(100), "}".repeat(100));
    assert!(matches!(expand(&deep, &big, &mut BTreeSet::new()), Err(Error::Malformed(_))));
    let wide = format!("a: [{}]", "\"$A$A$A$A$A$A$A$A$A$A\",".repeat(100));
    let mut report = Report::default();
    interpolate(&mut yaml::parse(&wide).unwrap(), &big, &mut report);
    assert!(report.problems[0].message.contains("the file is longer"), "{:?}", report.problems);
    assert_eq!(report.problems[0].path, "a[83]");
}

#[test]
fn a_tree_is_expanded_with_paths_and_without_its_keys() {
    let mut root =
        yaml::parse("$A: $A\nb:\n  - c: ${NO:?gone}\n    d: $MISSING\n  - '${'\nn: 1\n").unwrap();
    let mut report = Report::default();
    interpolate(&mut root, &environment(), &mut report);
    let Value::Map(entries) = &root.value else { panic!() };
    assert_eq!(entries[0].0, "$A");
    assert_eq!(entries[0].1.value, Value::Str("a".to_owned()));
    let problems: Vec<_> = report.problems.iter().map(|p| (p.path.as_str(), p.line)).collect();
    assert_eq!(problems, [("b[0].c", 3), ("b[1]", 5)]);
    assert!(report.problems[0].message.contains("gone"));
    let warnings: Vec<_> = report.warnings.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(warnings, ["b[0].d"]);
}

proptest! {
    #[test]
    fn expanding_never_panics(text in r"[$\{\}A-C:?+\- é_0-9]{0,60}") {
        let _ = expand(&text, &environment(), &mut BTreeSet::new());
    }

    #[test]
    fn expanding_any_text_never_panics(text in any::<String>()) {
        let _ = expand(&text, &environment(), &mut BTreeSet::new());
    }

    #[test]
    fn doubling_dollars_is_the_way_to_keep_a_text(text in any::<String>()) {
        let escaped = text.replace('$', "$$");
        prop_assert_eq!(expand(&escaped, &environment(), &mut BTreeSet::new()), Ok(text));
    }
}
