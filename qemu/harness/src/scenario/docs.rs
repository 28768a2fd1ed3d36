//! The manual of scenario files, written from the table of steps.

use super::table::ROWS;
use std::fmt::Write as _;

const HEAD: &str = "\
# Scenario files

One file is one test of the booted device image: what is done to the device, and what must be seen. One step a line;
`#` begins a comment; a text with spaces goes into \"quotes\". Run them with `qemu/test`.

```
scenario \"A power cut while an app is pulled\"    # what it shows
covers I1 I7                                      # fault points F1 to F36 and invariants I1 to I11
device new
boot
plug config-drive
expect stage synced within 60s
deploy web version=1.0.0
cut power when request pull-blob
boot
expect report web installed
```

Every step that waits can end with `within 90s` (also `1500ms`, `2min`): the longest it may take. Waiting ends as soon as the
condition holds. Without it a step has 90 s. On slow machines `MARGO_QEMU_PATIENCE=3` makes all of them three times
as long.

`needs firmware` (or `boot-env`, `guard`, `provisioning`, `watchdog`) names what the image must have. An image that lacks one of
them lists what it has in a file beside it (`disk.features` for `disk.img`); the scenario is then skipped and says why.

A line `nightly` marks a scenario that `qemu/test --quick` leaves out.

This page is written by `cargo run -p margo-qemu -- docs`; a test keeps it in step with the program.
";

/// The whole page.
pub(crate) fn page() -> String {
    let mut page = HEAD.to_owned();
    let mut group = "";
    for row in ROWS {
        if row.group != group {
            group = row.group;
            // Writing to a String does not fail.
            let _ = writeln!(page, "\n## {group}\n\n| step | what it does |\n|---|---|");
        }
        let _ = writeln!(page, "| `{}` | {} |", row.pattern, row.doc);
    }
    page
}
