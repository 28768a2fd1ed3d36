//! How large the programs are.

use crate::Fault;
use crate::options::Options;
use serde_json::{Map, Value};

/// Sizes of the installed programs, in bytes.
///
/// # Errors
/// One is missing: `cargo build --release -p margo-agent` makes them.
pub(crate) fn measure(options: &Options) -> Result<Map<String, Value>, Fault> {
    let mut figures = Map::new();
    for (program, figure) in [("margo-agent", "binary_bytes"), ("margoctl", "margoctl_bytes")] {
        let path = options.bin_dir.join(program);
        let metadata = std::fs::metadata(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        figures.insert(figure.to_owned(), metadata.len().into());
    }
    Ok(figures)
}
