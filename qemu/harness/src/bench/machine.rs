//! What the figures were taken on.

use crate::project::Project;
use crate::vm::accel;
use serde_json::{Value, json};

/// Processor, load, accelerator, image.
pub(super) fn facts(project: &Project) -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let line = |text: &str, name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        found.map(|(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map(std::num::NonZero::get);
    json!({
        "cores": cores.ok(),
        "processor": line(&read("/proc/cpuinfo"), "model name"),
        "memory": line(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_average_at_end": read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        "accelerator": accel::accelerator(project),
        "device": project.arch.name(),
        "image": project.image.display().to_string(),
    })
}
