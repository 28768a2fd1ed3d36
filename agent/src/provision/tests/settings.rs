//! What is written from the settings of a package.

use super::*;

const DOMAIN: &str = "factory.example";

fn installed(device: &Device) -> String {
    fs::read_to_string(device.places().sources.provisioned_file()).unwrap()
}

#[test]
fn fragments_add_up_and_the_packages_own_table_stays_behind() {
    let device = Device::new();
    let registry = |host: &str, insecure: bool| {
        format!("[[registry]]\nhost = \"{host}\"\ninsecure = {insecure}\n")
    };
    let main = format!(
        "[package]\nreplace = false\n{SETTINGS}[device]\nid = \"a\"\n[device.labels]\nsite = \"north\"\n{}",
        registry("one", false)
    );
    let more = format!(
        "[device]\nid = \"b\"\n[device.labels]\nline = 3\n{}{}",
        registry("one", true),
        registry("two", true)
    );
    // `config.d` comes before `margo-provision.toml` by name: the main file wins.
    let files = Files::good(&authority(DOMAIN))
        .with("margo-provision.toml", main)
        .with("config.d/20-site.toml", more);
    let attempt = device.install(&files);
    assert_eq!(attempt.outcome, Outcome::Installed, "{attempt}");
    let text = installed(&device);
    assert!(!text.contains("package") || text.contains("the next package"), "{text}");
    assert!(!text.contains("[package]"), "{text}");
    let settings = device.places().settings.unwrap();
    assert_eq!(settings.device.id, "a");
    let labels: Vec<_> = settings.device.labels.keys().map(String::as_str).collect();
    assert_eq!(labels, ["line", "site"]);
    let insecure: Vec<_> =
        settings.registries.iter().map(|one| (one.host.as_str(), one.insecure)).collect();
    assert_eq!(insecure, [("one", false), ("two", true)]);
}

#[test]
fn what_does_not_fit_the_device_is_refused() {
    let device = Device::new();
    let config = device.etc().join("config.d");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("60-site.toml"), "[retry]\nmax_ms = 1000\n").unwrap();
    let text = format!("{SETTINGS}[retry]\ninitial_ms = 5000\n");
    let files = Files::good(&authority(DOMAIN)).with("margo-provision.toml", text);
    let attempt = device.install(&files);
    assert_eq!(told(&attempt).len(), 1, "{attempt}");
    assert_eq!(attempt.defects[0].code, DefectCode::SettingInvalid);
    assert!(attempt.defects[0].what.contains("retry.initial_ms (5000)"), "{attempt}");
}

#[test]
fn a_later_fragment_that_wins_is_mentioned() {
    let device = Device::new();
    let config = device.etc().join("config.d");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("60-site.toml"), "[wfm]\nurl = \"https://other\"\n").unwrap();
    let attempt = device.install(&Files::good(&authority(DOMAIN)));
    assert_eq!(attempt.outcome, Outcome::Installed, "{attempt}");
    assert!(attempt.notes[0].contains("https://other"), "{attempt}");
}

/// The page is written for people; its tables come from the code.
#[test]
fn the_page_lists_every_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/PROVISIONING.md");
    let page = fs::read_to_string(&path).unwrap();
    let begin = "<!-- codes: written by a test -->\n";
    let (head, _) = page.split_once(begin).unwrap();
    let mut table = String::from("| code | what is wrong | what to do |\n|---|---|---|\n");
    for code in DefectCode::ALL {
        let next = code.next_action().replace('|', "\\|");
        table.push_str(&format!("| `{code}` | {} | {next} |\n", code.cause()));
    }
    let wanted = format!("{head}{begin}{table}");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let page = fs::read_to_string(&path).unwrap();
    assert_eq!(page, wanted, "run the tests with UPDATE=1 to write it anew");
}

#[test]
fn every_code_has_its_own_words() {
    let codes: std::collections::BTreeSet<_> =
        DefectCode::ALL.iter().map(|code| (code.as_str(), code.cause())).collect();
    assert_eq!(codes.len(), DefectCode::ALL.len());
    let causes: std::collections::BTreeSet<_> =
        DefectCode::ALL.iter().map(|code| code.cause()).collect();
    assert_eq!(causes.len(), DefectCode::ALL.len());
}
