//! What scenario files may and may not say.

use super::*;
use crate::scenario::action::{Action, Moment};

fn read(text: &str) -> Result<Scenario, String> {
    scenario(Path::new("dir/some.scenario"), text)
}

fn one(line: &str) -> Result<Step, String> {
    let scenario = read(&format!("scenario \"x\"\n{line}\n"))?;
    Ok(scenario.steps.into_iter().next().unwrap())
}

#[test]
fn a_file_is_read_with_its_title_coverage_and_steps() {
    let text = "# first\nscenario \"Shows it\"\ncovers F6 I2\nneeds firmware\nnightly\n\ndevice new disk=4000\nboot within 2min\n";
    let read = read(text).unwrap();
    assert_eq!((read.name.as_str(), read.title.as_str()), ("some", "Shows it"));
    assert_eq!(
        (read.covers, read.needs),
        (vec!["F6".into(), "I2".into()], vec!["firmware".into()])
    );
    assert!(read.is_nightly);
    assert_eq!(
        read.steps[0].action,
        Action::DeviceNew { memory_mib: 1024, cpus: 1, disk_mib: Some(4000), clock: None }
    );
    assert_eq!((read.steps[1].line, read.steps[1].within), (8, Duration::from_secs(120)));
}

#[test]
fn times_have_units() {
    assert_eq!(one("boot within 90 s").unwrap().within, Duration::from_secs(90));
    assert_eq!(one("boot").unwrap().within, WITHIN_DEFAULT);
    assert_eq!(
        one("cut power after 1500ms").unwrap().action,
        Action::CutPower(Moment::After(Duration::from_millis(1500)))
    );
    assert!(one("boot within 90").unwrap_err().contains("90s"));
}

#[test]
fn errors_name_the_place_and_the_next_step() {
    let cases = [
        ("expekt stage synced", "dir/some.scenario:2: there is no step \"expekt\""),
        ("expect stage sinced", "one of unprovisioned"),
        ("deploy web", "version= is missing; it is written: deploy <app>"),
        ("deploy web version=1", "three numbers"),
        ("expect slot A within 20min", "waits for nothing"),
        ("deploy web version=1.0.0 within 20s", "waits for nothing"),
        ("deploy web version=1 colour=red", "colour= is not known here"),
        ("lab stop dns", "one of wfm, mis, registry"),
        ("cut power when message NO_SUCH", "no message NO_SUCH"),
        ("cut power when request teleport", "teleport"),
        ("fault wfm explode", "unknown fault"),
        ("covers F99", "F99"),
        ("needs luck", "one of firmware"),
        ("reboot twice", "no step is written like this"),
        ("guest \"echo", "not closed"),
    ];
    for (line, expected) in cases {
        let error = read(&format!("scenario \"x\"\n{line}\n")).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
        assert!(error.contains("some.scenario:2"), "{line}: {error}");
    }
}

#[test]
fn quoted_words_are_never_keywords_or_settings() {
    let step = one("guest \"echo a=b within 3\" prints=\"a=b\"").unwrap();
    let Action::Guest { command, prints, .. } = step.action else { panic!("{step:?}") };
    assert_eq!((command.as_str(), prints.as_deref()), ("echo a=b within 3", Some("a=b")));
    let step = one("fault registry \"slow=20000\" on=pull-blob").unwrap();
    assert!(matches!(step.action, Action::Fault { kind, .. } if kind == "slow=20000"));
}

#[test]
fn a_file_without_title_or_steps_is_refused() {
    assert!(read("boot\n").unwrap_err().contains("no title"));
    assert!(read("scenario \"x\"\n").unwrap_err().contains("no steps"));
}

#[test]
fn a_line_written_as_a_row_says_is_taken_by_that_row() {
    for row in ROWS {
        let plain = |part: &&str| !part.starts_with('[');
        let line: Vec<Word> = row
            .pattern
            .split(' ')
            .filter(plain)
            .map(|part| Word { text: part.replace(['<', '>'], ""), is_quoted: false })
            .collect();
        let taker = ROWS.iter().find(|other| matches!(fit(other, &line), Fit::Yes(_)));
        assert_eq!(taker.map(|taker| taker.pattern), Some(row.pattern));
        assert!(row.doc.ends_with('.'), "{}: the description is a sentence", row.pattern);
    }
}
