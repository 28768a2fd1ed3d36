//! RAUC's errors, which are text only, sorted by what can be done about them.
//!
//! The fragments are RAUC's own wording, unchanged for years; what none of them fits counts as a failed
//! installation, which is never tried again by itself. RAUC's text is always kept in the message.

use super::dbus::text;
use state_machine::failure::{Code, Failure};

/// What RAUC was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Opening a bundle and looking at it.
    Reading,
    /// Writing one that is on the device.
    Installing,
    /// Writing one that is read over the network meanwhile: a read error is the network's.
    Streaming,
}

/// In this order: the first line with a fragment that occurs decides.
const TABLE: &[(Code, &[&str])] = &[
    (Code::NoSpace, &["no space left", "disk quota exceeded"]),
    (
        Code::FirmwareFetchFailed,
        // First, because the address that follows may hold any word.
        &["no such file", "failed to open bundle for reading", "failed to stream bundle"],
    ),
    (
        Code::FirmwareRejected,
        &[
            // Not made for this device, or not by those it trusts.
            "compatible mismatch",
            "version mismatch",
            "minimum rauc version",
            "manifest hash",
            "bundle rejected",
            "signature",
            "verify error",
            "x509",
            "certificate",
            "keyring",
            "signer",
            // Not a bundle, or not one this RAUC takes.
            "invalid identifier",
            "bundle size",
            "payload size",
            "payload is",
            "bundle format",
            "not a multiple of 4kib",
            "manifest",
            "no valid cms",
            "is too small for image",
            "does not fit to slot size",
            "unsupported image",
            "no matching slot",
            "checksum",
            "verity",
        ],
    ),
    (
        Code::FirmwareFetchFailed,
        &[
            "http",
            "curl",
            "resolve host",
            "connection refused",
            "connection timed out",
            "timed out",
            "timeout was reached",
            "nbd server",
            "streaming",
            "remote",
            "download",
            "transfer",
            "failed to open bundle",
            "network",
            "ssl",
        ],
    ),
];

/// A stream that ended while it was being set up, whose size is then none (RAUC before 1.15 with udev looking at it).
/// It says nothing about the bundle, though the line goes on with words that seem to.
const SETUP: &[&str] = &["failed to load dm table", "nbd device"];

/// The failure behind a text.
pub(super) fn classify(doing: Doing, said: &str) -> Failure {
    let lower = said.to_lowercase();
    let hit = TABLE.iter().find(|(_, fragments)| fragments.iter().any(|one| lower.contains(one)));
    let is_streaming = |fragments: &[&str]| {
        doing == Doing::Streaming && fragments.iter().any(|one| lower.contains(one))
    };
    let code = if is_streaming(SETUP) {
        Code::FirmwareFetchFailed
    } else if let Some((code, _)) = hit {
        *code
    } else if is_streaming(&["input/output error", "read error"]) {
        Code::FirmwareFetchFailed
    } else {
        Code::FirmwareInstallFailed
    };
    let said = text(said);
    let said = if said.is_empty() { "no reason given".to_owned() } else { said };
    let what = match doing {
        Doing::Reading => "reading the bundle",
        Doing::Installing | Doing::Streaming => "installing",
    };
    Failure::new(code, format!("{what}: {said}"))
}

/// A method that RAUC refuses while it runs another.
pub(super) fn is_busy(said: &str) -> bool {
    let lower = said.to_lowercase();
    lower.contains("already processing") || lower.contains("busy")
}

/// An argument that this release of RAUC does not know yet.
pub(super) fn is_unsupported(said: &str, key: &str) -> bool {
    said.contains("Unsupported key") && said.contains(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_rauc_are_told_apart() {
        use Code::{FirmwareFetchFailed, FirmwareInstallFailed, FirmwareRejected, NoSpace};
        for (code, said) in [
            (
                FirmwareRejected,
                "signature verification failed: Verify error: self-signed certificate",
            ),
            (FirmwareRejected, "Compatible mismatch: Expected 'a' but bundle manifest has 'b'"),
            (
                FirmwareRejected,
                "Version mismatch: Expected at least '2' but bundle manifest has '1'",
            ),
            (FirmwareRejected, "Bundle format 'plain' not allowed"),
            (FirmwareRejected, "Bundle rejected: Hook returned: wrong variant"),
            (FirmwareRejected, "Slot (4096 bytes) is too small for image (8192 bytes)."),
            (FirmwareRejected, "Signature size (7) exceeds bundle size"),
            (FirmwareFetchFailed, "failed to open bundle: Could not resolve host: r.example"),
            (FirmwareFetchFailed, "Failed to open file “/x.raucb”: No such file or directory"),
            (FirmwareFetchFailed, "Invalid bundle format: Failed to open bundle for reading: x"),
            (FirmwareFetchFailed, "unexpected HTTP response code 404"),
            (NoSpace, "write error: No space left on device"),
            (FirmwareInstallFailed, "Post-install handler error: Child process exited with code 1"),
            (FirmwareInstallFailed, ""),
        ] {
            let failure = classify(Doing::Installing, said);
            assert_eq!(failure.code, code, "{said}");
            assert!(failure.message.contains(said), "{said}");
        }
    }

    #[test]
    fn a_read_error_is_the_networks_only_where_the_network_is_read() {
        let said = "Failed updating slot rootfs.1: read failed: Input/output error";
        assert_eq!(classify(Doing::Streaming, said).code, Code::FirmwareFetchFailed);
        assert_eq!(classify(Doing::Installing, said).code, Code::FirmwareInstallFailed);
    }

    #[test]
    fn a_stream_that_ended_while_it_was_set_up_is_not_the_bundles_fault() {
        let said = "Failed mounting bundle: Failed to load dm table: Argument list too long, check DM_VERITY, \
            DM_CRYPT or CRYPTO_AES kernel options.";
        assert_eq!(classify(Doing::Streaming, said).code, Code::FirmwareFetchFailed);
        assert_ne!(classify(Doing::Installing, said).code, Code::FirmwareFetchFailed);
    }

    #[test]
    fn a_long_text_is_cut_and_stays_on_one_line() {
        let failure = classify(Doing::Reading, &"a\nb".repeat(10_000));
        assert!(failure.message.len() < 600 && !failure.message.contains('\n'));
    }

    #[test]
    fn being_busy_is_known() {
        assert!(is_busy("Already processing a different method"));
        assert!(!is_busy("Compatible mismatch"));
        assert!(is_unsupported("Unsupported key: require-manifest-hash", "require-manifest-hash"));
    }
}
