//! The options.

use margo_write_log::device;
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
  --reader device          a device's disk: GRUB chooses a slot, which must be complete; margo-agent opens its store
  --exhaustive N           up to N sectors between two flushes every subset (8, at most 16)
  --prefixes N             above that at most about N prefixes (4096)
  --random N               and N random subsets (120)
  --seed N                 of these (1)
  --json                   figures as JSON

of one partition:
  --partition-offset N     where the partition begins, in bytes (0)
  --partition-size N       its size in bytes (up to the end)
  --distinct-max N         stop after N different states (100000)

of a device (there --exhaustive 3 --prefixes 4 --random 6 are the store's; for the environment they are fixed):
  --slot-image FILE        a root image that a slot can hold; once for each
  --final-disk FILE        the disk (qcow2) the device left, to compare the replayed one with
  --other-spans N          spans looked at beside those of the store (100)

Exit status: 0 every state was readable, 1 one was not, 2 something else failed.
";

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) what: What,
    pub(crate) scratch: PathBuf,
    pub(crate) is_json: bool,
}

#[derive(Debug)]
pub(crate) enum What {
    Partition(Job),
    Device(device::Job),
}

/// What is read; a device is read by several.
enum Wanted {
    Partition(Reader),
    Device,
}

/// Of the store of a device: a state costs a file system check.
const STORE_PLAN: Plan = Plan { exhaustive_max: 3, prefixes_max: 4, random: 6, seed: 1 };

/// Reads the words; `None` asks for help.
///
/// # Errors
/// [`ReplayError::Usage`]
pub(crate) fn parse(words: &[String]) -> Result<Option<Work>, ReplayError> {
    let usage = |text: String| ReplayError::Usage(text);
    let (mut log, mut base, mut tools, mut scratch, mut reader) = (None, None, None, None, None);
    let (mut offset, mut size_bytes, mut distinct_max) = (0, None, 100_000);
    let (mut images, mut final_disk, mut other_spans) = (Vec::new(), None, 100);
    let (mut exhaustive, mut prefixes, mut random, mut seed) = (None, None, None, None);
    let mut is_json = false;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--help" => return Ok(None),
            "--json" => {
                is_json = true;
                continue;
            }
            _ => {}
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
            "--exhaustive" => exhaustive = Some(count()?),
            "--prefixes" => prefixes = Some(count()?),
            "--random" => random = Some(count()?),
            "--seed" => seed = Some(number()?),
            "--distinct-max" => distinct_max = count()?,
            "--slot-image" => images.push(PathBuf::from(value)),
            "--final-disk" => final_disk = Some(PathBuf::from(value)),
            "--other-spans" => other_spans = count()?,
            other => return Err(usage(format!("{other} is no option"))),
        }
    }
    let missing = |name: &str| usage(format!("{name} is missing"));
    let log = log.ok_or_else(|| missing("--log"))?;
    let base = base.ok_or_else(|| missing("--base"))?;
    let tools = tools.ok_or_else(|| missing("--tools"))?;
    let plan = |usual: Plan| Plan {
        exhaustive_max: exhaustive.unwrap_or(usual.exhaustive_max),
        prefixes_max: prefixes.unwrap_or(usual.prefixes_max),
        random: random.unwrap_or(usual.random),
        seed: seed.unwrap_or(usual.seed),
    };
    let what = match reader.ok_or_else(|| missing("--reader"))? {
        Wanted::Partition(reader) => {
            let plan = plan(Plan::default());
            What::Partition(Job {
                log,
                base,
                offset,
                size_bytes,
                tools,
                reader,
                plan,
                distinct_max,
            })
        }
        Wanted::Device if images.is_empty() => return Err(missing("--slot-image")),
        Wanted::Device => What::Device(device::Job {
            log,
            base,
            tools,
            images,
            final_disk,
            env_plan: Plan { seed: seed.unwrap_or(1), ..Plan::default() },
            store_plan: plan(STORE_PLAN),
            other_spans,
        }),
    };
    let scratch = scratch.ok_or_else(|| missing("--scratch"))?;
    Ok(Some(Work { what, scratch, is_json }))
}

fn reader_of(value: &str) -> Result<Wanted, ReplayError> {
    let reader = match value {
        "device" => return Ok(Wanted::Device),
        "env" => Reader::Env(Kind::Margo),
        "grub-editenv" => Reader::Env(Kind::Stock),
        other => match other.strip_prefix("store:") {
            // Goes into a command line of debugfs.
            Some(dir) if dir.starts_with('/') && !dir.contains(['\'', ' ', '"']) => {
                Reader::Store(dir.trim_end_matches('/').to_owned())
            }
            _ => return Err(ReplayError::Usage(format!("--reader: {other} is no reader"))),
        },
    };
    Ok(Wanted::Partition(reader))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    const COMMON: &str = "--log l --base b --tools t --scratch s --reader";

    #[test]
    fn a_device_needs_its_images_and_has_plans_of_its_own() {
        let error = parse(&words(&format!("{COMMON} device"))).unwrap_err();
        assert!(error.to_string().starts_with("--slot-image is missing"), "{error}");
        let text =
            format!("{COMMON} device --slot-image 1 --slot-image 2 --random 9 --seed 4 --json");
        let work = parse(&words(&text)).unwrap().unwrap();
        let What::Device(job) = work.what else { panic!("a device") };
        assert!(work.is_json);
        assert_eq!(job.images.len(), 2);
        assert_eq!((job.store_plan.random, job.store_plan.exhaustive_max), (9, 3));
        assert_eq!((job.env_plan.random, job.env_plan.seed), (Plan::default().random, 4));
    }

    #[test]
    fn a_partition_is_read_by_one() {
        let text = format!("{COMMON} store:/a/ --exhaustive 2");
        let work = parse(&words(&text)).unwrap().unwrap();
        let What::Partition(job) = work.what else { panic!("a partition") };
        assert_eq!((job.reader, job.plan.exhaustive_max), (Reader::Store("/a".to_owned()), 2));
        for (text, told) in
            [("nobody", "no reader"), ("env --seed x", "no number"), ("env --x 1", "no option")]
        {
            let error = parse(&words(&format!("{COMMON} {text}"))).unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}
