//! What RAUC says of the slots, read into types. Every key is optional for RAUC, unknown ones are passed over, and
//! every text has a limit.

use super::dbus::text;
use std::collections::HashMap;
use zbus::{OwnedVariant, Variant};

/// Most slots looked at (I11).
const SLOTS_MAX: usize = 32;

/// One slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// RAUC's name, for example `rootfs.0`.
    pub name: String,
    /// The class before the dot.
    pub class: String,
    /// The boot loader's name of it; empty for slots that are not booted from.
    pub bootname: String,
    /// The device booted from it.
    pub is_booted: bool,
    /// What the boot loader thinks of it; `None` where RAUC cannot tell.
    pub is_good: Option<bool>,
    /// `ok`, `pending`, `failed`, or empty when it was never written.
    pub status: String,
    /// Version of the bundle in it.
    pub version: Option<String>,
    /// The installation that wrote it.
    pub transaction: Option<String>,
    /// When it was written, as RAUC writes times.
    pub installed: Option<String>,
    /// When it was last made the one to boot.
    pub activated: Option<String>,
}

/// All slots, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// In RAUC's order.
    pub all: Vec<Slot>,
    /// Name of the slot that the boot loader would boot next; `None` where RAUC cannot tell.
    pub primary: Option<String>,
}

impl Slots {
    /// Reads RAUC's answer.
    pub(super) fn read(
        entries: Vec<(String, HashMap<String, OwnedVariant>)>,
        primary: Option<String>,
    ) -> Self {
        let all = entries.into_iter().take(SLOTS_MAX).map(|(name, keys)| slot(&name, &keys));
        Self { all: all.collect(), primary: primary.map(|name| text(&name)) }
    }

    /// The slot the device runs from. Never the primary one: a boot loader that counts tries lets RAUC think badly
    /// of a booted slot until it is marked good.
    pub fn booted(&self) -> Option<&Slot> {
        self.all.iter().find(|slot| slot.is_booted && !slot.bootname.is_empty())
    }

    /// The slot an installation writes: of the booted one's class, and not booted.
    pub fn other(&self) -> Option<&Slot> {
        let class = &self.booted()?.class;
        let is_other = |slot: &&Slot| !slot.is_booted && slot.class == *class;
        self.all.iter().filter(is_other).find(|slot| !slot.bootname.is_empty())
    }

    /// A slot by its name.
    pub fn named(&self, name: &str) -> Option<&Slot> {
        self.all.iter().find(|slot| slot.name == name)
    }

    /// Whether the next boot takes this slot.
    pub fn is_primary(&self, name: &str) -> bool {
        self.primary.as_deref() == Some(name)
    }

    /// Whether this transaction's bundle is complete in the slot, and the slot is the next to boot: the only proof
    /// that an installation succeeded, since `Completed` may be lost and names no transaction.
    pub fn holds(&self, target: &str, transaction: &str) -> bool {
        self.is_primary(target)
            && self.named(target).is_some_and(|slot| {
                slot.status == "ok"
                    && slot.transaction.as_deref() == Some(transaction)
                    // Times of one form and one zone, so that their order is that of their texts.
                    && slot.activated.is_some()
                    && slot.activated >= slot.installed
            })
    }
}

fn slot(name: &str, keys: &HashMap<String, OwnedVariant>) -> Slot {
    let find = |key: &str| keys.get(key).and_then(|value| string(value));
    let class = find("class").unwrap_or_default();
    Slot {
        name: text(name),
        class,
        bootname: find("bootname").unwrap_or_default(),
        is_booted: find("state").is_some_and(|state| state == "booted"),
        is_good: match find("boot-status").as_deref() {
            Some("good") => Some(true),
            Some("bad") => Some(false),
            Some(_) | None => None,
        },
        status: find("status").unwrap_or_default(),
        version: find("bundle.version"),
        transaction: find("installed.transaction"),
        installed: find("installed.timestamp"),
        activated: find("activated.timestamp"),
    }
}

/// A value's text; `None` for a value of another type.
pub(super) fn string(value: &Variant<'_>) -> Option<String> {
    match peel(value) {
        Variant::Str(said) => Some(text(said)),
        _ => None,
    }
}

/// A value without the variants it is wrapped in: RAUC wraps once or twice.
pub(super) fn peel<'v, 'a>(value: &'v Variant<'a>) -> &'v Variant<'a> {
    match value {
        Variant::Variant(inner) => peel(inner),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(
        name: &str,
        keys: &[(&str, Variant<'static>)],
    ) -> (String, HashMap<String, OwnedVariant>) {
        let keys = keys.iter().map(|(key, value)| {
            ((*key).to_owned(), OwnedVariant::try_from(value.try_clone().unwrap()).unwrap())
        });
        (name.to_owned(), keys.collect())
    }

    fn text_of(value: &'static str) -> Variant<'static> {
        Variant::new(value)
    }

    fn pair(target: &[(&str, Variant<'static>)]) -> Slots {
        let booted = [
            ("class", text_of("rootfs")),
            ("bootname", text_of("A")),
            ("state", text_of("booted")),
            ("boot-status", text_of("bad")),
        ];
        let mut other = vec![("class", text_of("rootfs")), ("bootname", text_of("B"))];
        other.extend(target.iter().map(|(key, value)| (*key, value.try_clone().unwrap())));
        let entries = vec![entry("rootfs.0", &booted), entry("rootfs.1", &other)];
        Slots::read(entries, Some("rootfs.1".to_owned()))
    }

    fn installed() -> Vec<(&'static str, Variant<'static>)> {
        vec![
            ("status", text_of("ok")),
            ("installed.transaction", text_of("t1")),
            ("installed.timestamp", text_of("2026-11-21T10:00:00Z")),
            ("activated.timestamp", text_of("2026-11-21T10:00:01Z")),
        ]
    }

    #[test]
    fn the_booted_slot_is_the_one_rauc_calls_booted_whatever_is_primary() {
        let slots = pair(&[]);
        assert_eq!(slots.booted().map(|slot| slot.name.as_str()), Some("rootfs.0"));
        assert_eq!(slots.other().map(|slot| slot.name.as_str()), Some("rootfs.1"));
        assert!(slots.is_primary("rootfs.1"));
    }

    #[test]
    fn an_installation_is_proved_by_all_of_its_signs() {
        assert!(pair(&installed()).holds("rootfs.1", "t1"));
        assert!(!pair(&installed()).holds("rootfs.1", "t2"), "somebody else's");
        for index in 0..installed().len() {
            let mut fewer = installed();
            let (missing, _) = fewer.remove(index);
            let expected = missing == "installed.timestamp";
            assert_eq!(pair(&fewer).holds("rootfs.1", "t1"), expected, "without {missing}");
        }
        let mut earlier = installed();
        earlier[3].1 = text_of("2026-11-21T09:00:00Z");
        assert!(!pair(&earlier).holds("rootfs.1", "t1"), "activated before it was written");
        let mut slots = pair(&installed());
        slots.primary = Some("rootfs.0".to_owned());
        assert!(!slots.holds("rootfs.1", "t1"), "not the next to boot");
    }

    #[test]
    fn missing_unknown_and_wrong_values_are_no_error() {
        let strange = [("state", Variant::new(7_u32)), ("moon", text_of("full"))];
        let slots = Slots::read(vec![entry("rootfs.0", &strange), entry("x", &[])], None);
        assert_eq!(slots.all.len(), 2);
        assert_eq!((slots.booted(), slots.other()), (None, None));
        assert_eq!(slots.all[0].is_good, None);
    }

    #[test]
    fn there_is_a_limit_to_everything() {
        let long = [("status", Variant::new("x".repeat(10_000)))];
        let slots = Slots::read((0..100).map(|n| entry(&format!("s.{n}"), &long)).collect(), None);
        assert_eq!(slots.all.len(), SLOTS_MAX);
        assert!(slots.all[0].status.len() <= super::super::dbus::TEXT_BYTES_MAX);
    }
}
