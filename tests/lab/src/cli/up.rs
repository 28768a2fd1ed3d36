//! `margo-lab up`: the lab in the foreground.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use margo_lab::control::ControlServer;
use margo_lab::{ClientId, Lab, LabConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;

use super::CliResult;
use super::args::{UpOptions, absolute};

/// The provisioning directory that `up` writes.
const DEVICE_DIR: &str = "device";

pub(super) async fn run(dir: PathBuf, options: UpOptions) -> CliResult {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let dir = absolute(dir);
    let lab = Arc::new(Lab::start(config(dir.clone(), options)).await?);
    let mut events = lab.events();
    let _control = ControlServer::open(Arc::clone(&lab)).await?;
    let device_dir = dir.join(DEVICE_DIR);
    // A device may be using the directory; what is right is left alone.
    if !lab.is_provisioned(&device_dir) {
        lab.provision(&device_dir)?;
    }
    summary(&lab, &device_dir)?;
    loop {
        tokio::select! {
            // Cancel-safe: both signals only wake.
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            // Cancel-safe: an event stays in the channel until it is returned.
            event = events.recv() => match event {
                Ok(event) => line(&event.to_string())?,
                Err(RecvError::Lagged(missed)) => line(&format!("({missed} lines were missed)"))?,
                Err(RecvError::Closed) => break,
            },
        }
    }
    Ok(())
}

fn config(dir: PathBuf, options: UpOptions) -> LabConfig {
    LabConfig {
        dir: Some(dir),
        trust_domain: options.trust_domain,
        wfm_id: options.wfm_id,
        client_id: ClientId::new(options.client_id),
        device_id: options.device,
        listen: options.listen,
        host: options.host,
        wfm_port: options.wfm_port,
        mis_port: options.mis_port,
        registry_port: options.registry_port,
        wfm_base_path: options.wfm_base_path,
        registry_tls: options.registry_tls,
        ..LabConfig::default()
    }
}

fn summary(lab: &Lab, device_dir: &Path) -> io::Result<()> {
    let endpoints = lab.endpoints();
    let mut out = io::stdout().lock();
    writeln!(out, "margo-lab is up.")?;
    writeln!(out, "  fleet manager   {}", endpoints.wfm_url)?;
    writeln!(out, "  trust bundle    {}", endpoints.trust_bundle_uri)?;
    writeln!(out, "  discovery       {}", endpoints.discovery_url)?;
    writeln!(out, "  registry        {}", endpoints.registry)?;
    writeln!(out, "  WFM identity    {}", lab.pki().wfm_spiffe_id())?;
    let client = lab.pki().client_spiffe_id(&lab.config().client_id);
    writeln!(out, "  client identity {client}")?;
    writeln!(out, "  provisioning    {}", device_dir.display())?;
    writeln!(out, "  control         margo-lab --dir {} status", lab.dir().display())?;
    out.flush()
}

fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
