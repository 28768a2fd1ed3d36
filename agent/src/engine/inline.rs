//! Inline file content (`configs` with `content`), written into a created container before it starts.
//!
//! As docker compose does it. Writing again is harmless, so a container that a cut call left created but
//! never started simply gets its files again.

use crate::compose::model::FileMount;
use bollard::Docker;
use bollard::errors::Error as DockerError;
use bollard::query_parameters::UploadToContainerOptionsBuilder;
use serde::Serialize;

/// Compose's mode for files that say none.
const MODE_DEFAULT: u32 = 0o444;

/// One file to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct InlineFile {
    target: String,
    content: String,
    mode: u32,
}

/// The files of a service that are not mounted but written.
pub(crate) fn inline_files(files: &[FileMount]) -> Vec<InlineFile> {
    files
        .iter()
        .filter_map(|file| {
            Some(InlineFile {
                target: file.target.clone(),
                content: file.content.clone()?,
                mode: file.mode.unwrap_or(MODE_DEFAULT),
            })
        })
        .collect()
}

/// Writes the files into a container; no call when there are none.
pub(crate) async fn write_inline(
    docker: &Docker,
    container: &str,
    files: &[InlineFile],
) -> Result<(), DockerError> {
    if files.is_empty() {
        return Ok(());
    }
    let archive = archive(files).map_err(|err| DockerError::IOError { err })?;
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    let body = bollard::body_full(archive.into());
    docker.upload_to_container(container, Some(options), body).await
}

fn archive(files: &[InlineFile]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(file.content.len()).unwrap_or(u64::MAX));
        header.set_mode(file.mode);
        let path = file.target.trim_start_matches('/');
        tar.append_data(&mut header, path, file.content.as_bytes())?;
    }
    tar.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn only_inline_files_are_written_with_their_mode() {
        let inline = |target: &str, mode| FileMount {
            target: target.to_owned(),
            content: Some("text".to_owned()),
            mode,
            ..FileMount::default()
        };
        let mounted = FileMount { archive_path: "a".into(), ..FileMount::default() };
        let files = inline_files(&[inline("/etc/a", None), mounted, inline("/b", Some(0o600))]);
        let bytes = archive(&files).unwrap();
        let mut tar = tar::Archive::new(bytes.as_slice());
        let found: Vec<_> = tar
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap(), text)
            })
            .collect();
        let text = "text".to_owned();
        assert_eq!(
            found,
            [("etc/a".to_owned(), 0o444, text.clone()), ("b".to_owned(), 0o600, text)]
        );
    }
}
