//! Images from local archives (`docker save`): how an image ships in a device's firmware.

use super::docker::Engine;
use super::error::EngineError;
use bollard::query_parameters::ImportImageOptionsBuilder;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Read from the archive at a time, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

impl Engine {
    /// Loads every image of an archive, with its tags. What is there already is not stored again.
    ///
    /// # Errors
    /// `Local` when the file cannot be read; `Unavailable`, `Api`, `NoSpace`.
    pub async fn load_images(&self, archive: &Path) -> Result<(), EngineError> {
        let doing = format!("load images from `{}`", archive.display());
        let file = File::open(archive)
            .map_err(|source| EngineError::Local { doing: doing.clone(), source })?;
        let docker = self.api().await?;
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let mut answers = Box::pin(docker.import_image_stream(options, chunks(file), None));
        while let Some(answer) = answers.next().await {
            self.seen(&doing, answer)?;
        }
        Ok(())
    }
}

/// The file's content, each chunk read off the event loop.
fn chunks(file: File) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    stream::try_unfold(file, |mut file| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = Vec::new();
            let limit = u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX);
            (&mut file).take(limit).read_to_end(&mut chunk)?;
            Ok::<_, std::io::Error>((chunk, file))
        });
        let (chunk, file) = read.await.map_err(std::io::Error::other)??;
        Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), file)))
    })
}
