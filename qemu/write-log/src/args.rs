//! The options.

use margo_write_log::env_judge::Kind;
use margo_write_log::error::ReplayError;
use margo_write_log::run::{Job, Reader};
use margo_write_log::states::Plan;
use std::path::PathBuf;

/// What `--help` says.
pub(crate) const HELP: &str = "\
margo-write-log: every state a disk can be in after a power cut, judged by those who must read it

Usage: margo-write-log --log FILE --base FILE --tools COMMAND --scratch DIR --reader READER [OPTION...]

  --log FILE               recorded by QEMU: driver=blklogwrites,log-sector-size=512
  --base FILE              the disk (raw) as it was when the recording began
  --tools COMMAND          runs its arguments where grub-fstest, e2fsck and debugfs are, as qemu/tools does
  --scratch DIR            a directory that those tools see under the same name
  --reader env             GRUB reads /grubenv and /grubenv.bak (margo-boot-env)
  --reader grub-editenv    GRUB reads /grubenv as RAUC's grub back end writes it
  --reader store:DIR       margo-agent opens its store in DIR of an ext4 partition
  --partition-offset N     where the partition begins, in bytes (0)
  --partition-size N       its size in bytes (up to the end)
  --exhaustive N           up to N sectors between two flushes every subset (8, at most 16)
  --prefixes N             above that at most N prefixes (4096)
  --random N               and N random subsets (120)
  --seed N                 of these (1)
  --distinct-max N         stop after N different states (100000)

Exit status: 0 every state was readable, 1 one was not, 2 something else failed.
";

/// Reads the words; `None` asks for help.
///
/// # Errors
/// [`ReplayError::Usage`]
pub(crate) fn parse(words: &[String]) -> Result<Option<(Job, PathBuf)>, ReplayError> {
    let usage = |text: String| ReplayError::Usage(text);
    let (mut log, mut base, mut tools, mut scratch, mut reader) = (None, None, None, None, None);
    let (mut offset, mut size_bytes, mut distinct_max) = (0, None, 100_000);
    let mut plan = Plan::default();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--help" {
            return Ok(None);
        }
        let value = rest.next().ok_or_else(|| usage(format!("{word} needs a value")))?;
        let number =
            || value.parse::<u64>().map_err(|_| usage(format!("{word}: {value} is no number")));
        let count = || number().map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        match word.as_str() {
            "--log" => log = Some(PathBuf::from(value)),
            "--base" => base = Some(PathBuf::from(value)),
            "--tools" => tools = Some(PathBuf::from(value)),
            "--scratch" => scratch = Some(PathBuf::from(value)),
            "--reader" => reader = Some(reader_of(value)?),
            "--partition-offset" => offset = number()?,
            "--partition-size" => size_bytes = Some(number()?),
            "--exhaustive" => plan.exhaustive_max = count()?,
            "--prefixes" => plan.prefixes_max = count()?,
            "--random" => plan.random = count()?,
            "--seed" => plan.seed = number()?,
            "--distinct-max" => distinct_max = count()?,
            other => return Err(usage(format!("{other} is no option"))),
        }
    }
    let missing = |name: &str| usage(format!("{name} is missing"));
    let job = Job {
        log: log.ok_or_else(|| missing("--log"))?,
        base: base.ok_or_else(|| missing("--base"))?,
        offset,
        size_bytes,
        tools: tools.ok_or_else(|| missing("--tools"))?,
        reader: reader.ok_or_else(|| missing("--reader"))?,
        plan,
        distinct_max,
    };
    Ok(Some((job, scratch.ok_or_else(|| missing("--scratch"))?)))
}

fn reader_of(value: &str) -> Result<Reader, ReplayError> {
    match value {
        "env" => Ok(Reader::Env(Kind::Margo)),
        "grub-editenv" => Ok(Reader::Env(Kind::Stock)),
        other => match other.strip_prefix("store:") {
            // Goes into a command line of debugfs.
            Some(dir) if dir.starts_with('/') && !dir.contains(['\'', ' ', '"']) => {
                Ok(Reader::Store(dir.trim_end_matches('/').to_owned()))
            }
            _ => Err(ReplayError::Usage(format!("--reader: {other} is no reader"))),
        },
    }
}
