//! The command line.

use crate::Fault;
use std::path::PathBuf;

/// Parts that can be asked for one by one.
const PARTS: [&str; 7] = ["size", "step", "start", "idle", "polls", "apply", "restore"];

/// What is measured and how long.
#[derive(Debug)]
pub(crate) struct Options {
    /// As many samples as a comparison between releases deserves.
    pub(crate) is_full: bool,
    /// A budget that does not depend on the machine's speed and is exceeded makes the run fail.
    pub(crate) is_checked: bool,
    /// Parts to measure; empty means all.
    only: Vec<String>,
    /// Where `margo-agent` and `margoctl` are.
    pub(crate) bin_dir: PathBuf,
    /// Further configuration of the agent (TOML), to compare settings; what is measured then is no default.
    pub(crate) config: String,
    /// A real `docker compose` to compare with, if there is one.
    pub(crate) compose: Option<PathBuf>,
}

impl Options {
    /// Reads arguments and environment.
    ///
    /// # Errors
    /// An argument that is not understood.
    pub(crate) fn from_args(args: impl Iterator<Item = String>) -> Result<Self, Fault> {
        let own_dir = || Ok::<_, Fault>(std::env::current_exe()?.with_file_name(""));
        let bin_dir = std::env::var_os("MARGO_BIN_DIR").map(PathBuf::from);
        let mut options = Self {
            is_full: false,
            is_checked: false,
            only: Vec::new(),
            bin_dir: bin_dir.map_or_else(own_dir, Ok)?,
            config: std::env::var("MARGO_BENCH_CONFIG").unwrap_or_default(),
            compose: std::env::var_os("MARGO_DOCKER_COMPOSE").map(PathBuf::from),
        };
        for arg in args {
            match arg.as_str() {
                "--full" => options.is_full = true,
                "--check" => options.is_checked = true,
                part if PARTS.contains(&part) => options.only.push(arg),
                _ => {
                    let parts = PARTS.join("|");
                    return Err(
                        format!("{arg}: usage: margo-bench [--full] [--check] [{parts}]…").into()
                    );
                }
            }
        }
        Ok(options)
    }

    /// Whether a part is to be measured.
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == part)
    }

    /// One of two numbers, by mode.
    pub(crate) const fn pick<T: Copy>(&self, quick: T, full: T) -> T {
        if self.is_full { full } else { quick }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, Fault> {
        Options::from_args(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn without_parts_all_are_wanted() {
        let options = parse(&["--full"]).unwrap();
        assert!(options.is_full && !options.is_checked && options.wants("apply"));
        let options = parse(&["step", "size"]).unwrap();
        assert!(options.wants("step") && options.wants("size") && !options.wants("apply"));
    }

    #[test]
    fn an_unknown_argument_is_named() {
        assert!(parse(&["--fast"]).unwrap_err().to_string().starts_with("--fast: usage"));
    }
}
