//! How this device may talk to registries, read anew for each preparation: passwords change without a restart.

use super::{Workloads, blocking};
use crate::config::RegistrySettings;
use crate::engine::{self, ImageReference};
use crate::oci::{Credentials, OciLimits, Puller, Registries, RegistryAccess};
use state_machine::failure::{Code, Failure};
use std::path::Path;

/// Largest password or certificate file, in bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

impl Workloads {
    /// A puller with the settings as the files are now.
    pub(super) async fn puller(&self) -> Result<Puller, Failure> {
        let settings = self.registries.clone();
        let compose_layer_bytes_max = self.archive_size_bytes_max;
        blocking(move || {
            let entries = settings.iter().map(|one| Ok((one.host.clone(), access(one)?)));
            let registries = Registries::new(entries.collect::<Result<_, Failure>>()?);
            let limits = OciLimits { compose_layer_bytes_max, ..OciLimits::default() };
            Ok(Puller::new(registries, limits))
        })
        .await
    }
}

/// What the engine needs to pull an image, if its registry asks for a login.
pub(super) fn engine_credentials(puller: &Puller, reference: &str) -> Option<engine::Credentials> {
    let reference = ImageReference::parse(reference).ok()?;
    let found = puller.credentials(reference.registry())?;
    Some(engine::Credentials { username: found.username.clone(), password: found.password.clone() })
}

fn access(settings: &RegistrySettings) -> Result<RegistryAccess, Failure> {
    let credentials = match (&settings.username, &settings.password_file) {
        (Some(username), Some(file)) => {
            let password = String::from_utf8(read(file)?).map_err(|_| {
                Failure::new(Code::ArtifactAuthFailed, format!("{}: not text", file.display()))
            })?;
            let password = password.trim_end_matches(['\r', '\n']).to_owned();
            Some(Credentials { username: username.clone(), password })
        }
        _ => None,
    };
    let ca_pem = settings.ca_file.as_deref().map(read).transpose()?;
    Ok(RegistryAccess { credentials, insecure_http: settings.insecure, ca_pem })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|f| f.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| {
        Failure::new(Code::ArtifactAuthFailed, format!("{}: {error}", path.display()))
    })?;
    Ok(bytes)
}
