//! The lines of a script that are about firmware: slots, bundles, restarts, operators.

use crate::device::Device;
use crate::script::{Played, end, failed};
use state_machine::effect::{Bundle, Effect, Outcome};
use state_machine::event::{Event, StoreCondition};

/// Whether an effect is the one a line is about.
type Fits = fn(&Effect) -> bool;

/// `None`: the line is about something else.
pub(crate) fn happen(device: &mut Device, line: &str) -> Option<Played> {
    match line {
        "operator rolls the firmware back" => device.feed(&Event::FirmwareRollbackRequested),
        "operator judges the trial good" => device.feed(&Event::FirmwareJudged { good: true }),
        "operator judges the trial bad" => device.feed(&Event::FirmwareJudged { good: false }),
        "slot marked" => return Some(end(device, marks, Outcome::SlotMarked)),
        "firmware installed" => return Some(end(device, installs, Outcome::FirmwareInstalled)),
        "system is well" => {
            let outcome = Outcome::SystemChecked { failures: Vec::new() };
            return Some(end(device, checks, outcome));
        }
        _ => return with_argument(device, line),
    }
    Some(Ok(()))
}

fn with_argument(device: &mut Device, line: &str) -> Option<Played> {
    let after = |start: &str| line.strip_prefix(start);
    if let Some(location) = after("operator installs ") {
        device.feed(&Event::FirmwareRequested { location: location.to_owned() });
        return Some(Ok(()));
    }
    if let Some(version) = after("bundle is version ") {
        let bundle = Bundle { version: version.to_owned(), manifest: None };
        return Some(end(device, prepares, Outcome::FirmwarePrepared { bundle }));
    }
    if let Some(text) = after("system is ill: ") {
        let ill = |failure| Outcome::SystemChecked { failures: vec![failure] };
        return Some(crate::words::failure(text).and_then(|f| end(device, checks, ill(f))));
    }
    let fails: [(&str, Fits); 4] = [
        ("bundle fails ", prepares),
        ("installation fails ", installs),
        ("marking fails ", marks),
        ("reboot fails ", |effect| *effect == Effect::Reboot),
    ];
    for (start, fits) in fails {
        if let Some(text) = after(start) {
            return Some(failed(text).and_then(|outcome| end(device, fits, outcome)));
        }
    }
    after("boots ").map(|rest| boots(device, rest))
}

/// `boots rootfs.1 with version 2, on trial` or `..., committed`, and perhaps `; noted: why`.
fn boots(device: &mut Device, rest: &str) -> Played {
    let (rest, note) = rest.split_once("; noted: ").map_or((rest, None), |(r, n)| (r, Some(n)));
    let (slot, rest) = rest.split_once(" with version ").ok_or("expected: with version N")?;
    let (version, word) = rest.split_once(", ").ok_or("expected: , on trial or , committed")?;
    if !matches!(word, "on trial" | "committed") {
        return Err(format!("neither on trial nor committed: {word}"));
    }
    device.set_slot(slot, word == "committed", Some(version.to_owned()));
    if let Some(boot) = &mut device.boot {
        boot.note = note.map(str::to_owned);
    }
    device.start(StoreCondition::Intact);
    Ok(())
}

fn prepares(effect: &Effect) -> bool {
    matches!(effect, Effect::PrepareFirmware { .. })
}

fn installs(effect: &Effect) -> bool {
    matches!(effect, Effect::InstallFirmware { .. })
}

fn checks(effect: &Effect) -> bool {
    *effect == Effect::CheckSystem
}

fn marks(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::CommitSlot | Effect::RejectSlot | Effect::ActivateOther | Effect::DiscardFirmware
    )
}
