//! A package as a tar archive, compressed or not. Only names and contents of regular files are taken.

use super::package::{FILE_BYTES_MAX, FILES_MAX, PACKAGE_BYTES_MAX, Package};
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path};

/// The first bytes of everything that gzip compressed.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Reads an archive; unknown, hidden or odd entries become defects of the package.
pub(super) fn read(path: &Path, source: &str) -> io::Result<Package> {
    let mut start = Vec::new();
    File::open(path)?.take(2).read_to_end(&mut start)?;
    let file = BufReader::new(File::open(path)?);
    let stream: Box<dyn Read> =
        if start == GZIP_MAGIC { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    let mut package = Package::new(source);
    let mut archive = tar::Archive::new(stream.take(PACKAGE_BYTES_MAX));
    for (count, entry) in archive.entries()?.enumerate() {
        let mut entry = entry.map_err(|error| no_archive(&error))?;
        if count > FILES_MAX.saturating_mul(4) {
            return Err(io::Error::other("the archive has too many entries"));
        }
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = plain(&entry.path()?)?;
        let mut bytes = Vec::new();
        let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        entry.by_ref().take(limit).read_to_end(&mut bytes)?;
        package.add(&name, bytes);
    }
    Ok(package)
}

fn no_archive(error: &io::Error) -> io::Error {
    io::Error::other(format!("it is no directory and no tar archive: {error}"))
}

/// `./svid.pem` as `svid.pem`; nothing that climbs.
fn plain(path: &Path) -> io::Result<String> {
    let mut name = String::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => {
                if !name.is_empty() {
                    name.push('/');
                }
                name.push_str(&part.to_string_lossy());
            }
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(io::Error::other("an entry leads out of the archive"));
            }
        }
    }
    Ok(name)
}
