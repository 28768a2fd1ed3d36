//! The agent put together: settings, store, adapters, driver, and their end.

use crate::answer::Answers;
use crate::artifacts::{Artifacts, ArtifactsError};
use crate::clock::{self, Clock};
use crate::config::{ConfigErrors, FirstBoot, Settings, Sources};
use crate::driver::{self, Driver, Inputs, Persist};
use crate::engine::{Engine, EngineError};
use crate::executor::{self, DescribeError, Executor, watch_boot};
use crate::identity;
use crate::local_api::{EventLog, LocalApi, Query, StoreStatus};
use crate::log_message;
use crate::logging::{ErrorChain, LevelHandle, catalog};
use crate::provision::{self, Places, Provisioned};
use crate::restored::RestoreWatch;
use crate::store::{Condition, Copies, Store, StoreError};
use crate::supervise::{self, Signal, Signals, Watchdog};
use crate::updater::{self, BootFacts, Health, Pace, Updater};
use state_machine::backoff::seed_of;
use state_machine::desired::DesiredState;
use state_machine::event::{BootSlot, Event, Observation, StoreCondition};
use state_machine::firmware::Firmware;
use state_machine::state::Durable;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Facts that may wait for the driver.
const EVENTS_MAX: usize = 256;
/// Questions that may wait for the driver.
const QUERIES_MAX: usize = 32;

/// How often RAUC is asked for the booted slot where nothing else knows it, each time with RAUC's own patience.
const BOOT_QUESTIONS_MAX: u32 = 10;

/// Health checks of the image, then those of the device.
const HEALTH_DIRS: [&str; 2] = ["usr/lib/margo/health.d", "etc/margo/health.d"];

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is wrong.
    #[error("configuration")]
    Config(#[source] ConfigErrors),
    /// The durable state cannot be used.
    #[error("durable state")]
    Store(#[source] StoreError),
    /// The artifact store cannot be used.
    #[error("artifacts")]
    Artifacts(#[source] ArtifactsError),
    /// The device cannot be described.
    #[error("capabilities")]
    Describe(#[source] DescribeError),
    /// The engine's address is unusable.
    #[error("container engine")]
    Engine(#[source] EngineError),
    /// The operating system refused something basic.
    #[error("{doing}")]
    System {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// How a run ended.
enum End {
    Stop,
    Reload(Box<Settings>),
}

/// Runs until told to stop. A reload with a valid configuration starts over with it; with an invalid one it is
/// logged and the old one stays in force.
///
/// # Errors
/// See [`RunError`]; the service manager starts the agent again.
pub fn run(sources: &Sources, level: &LevelHandle) -> Result<(), RunError> {
    // Looked at before the settings are read: what changes in between is noticed, at worst once too often.
    let mut provisioned = Provisioned::look(sources);
    let mut settings = sources.load().map_err(RunError::Config)?;
    let system = |doing: &str, source| RunError::System { doing: doing.to_owned(), source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| system("start the event loop", source))?;
    loop {
        level.set(settings.log_level);
        let end = runtime.block_on(async {
            let mut signals =
                Signals::new().map_err(|source| system("listen for signals", source))?;
            run_once(settings, sources, &mut signals, &mut provisioned).await
        });
        match end? {
            End::Stop => return Ok(()),
            End::Reload(new) => {
                log_message!(catalog::CONFIG_RELOADED, "configuration read anew");
                settings = *new;
            }
        }
    }
}

/// The durable state on its two files.
struct Saved(Store);

impl Persist for Saved {
    fn save(&mut self, durable: &Durable, both: bool) -> Result<(), String> {
        let copies = if both { Copies::Both } else { Copies::One };
        self.0.save(durable, copies).map_err(|error| ErrorChain(&error).to_string())
    }
}

async fn run_once(
    settings: Settings,
    sources: &Sources,
    signals: &mut Signals,
    provisioned: &mut Provisioned,
) -> Result<End, RunError> {
    let began_ms = clock::boottime_ms();
    let state_dir = settings.paths.state_dir.clone();
    let (store, loaded) =
        Store::open::<Durable>(&state_dir.join("state")).map_err(RunError::Store)?;
    let artifacts = Artifacts::open(state_dir.join("artifacts")).map_err(RunError::Artifacts)?;
    let artifacts = Arc::new(artifacts);
    let clock = Clock::open(&state_dir);
    let floor_unix_ms = clock.floor_unix_ms();
    let engine = Engine::connect(&settings.engine.socket).map_err(RunError::Engine)?;
    let boot = BootFacts::gather(sources.root());
    let updater = make_updater(&settings, &boot, sources);
    let (device, capabilities) = executor::capabilities(&settings, &state_dir, updater.as_ref())
        .map_err(RunError::Describe)?;

    let saved_firmware = loaded.document.as_ref().map(|durable| &durable.firmware);
    let booted = match &updater {
        Some(updater) => booted(updater, &boot, saved_firmware, sources).await,
        None => None,
    };
    let started = Event::Started {
        observation: Observation {
            store: condition(&loaded.condition),
            capabilities: capabilities.digest(),
            preload: preload(&settings, &artifacts, loaded.document.as_ref()),
            boot: booted,
        },
    };
    let policy = executor::policy(&settings, jitter_seed(&settings));
    let (event_sender, events) = mpsc::channel(EVENTS_MAX);
    let (query_sender, queries) = mpsc::channel(QUERIES_MAX);
    let executor = Arc::new(Executor::new(executor::Parts {
        settings: settings.clone(),
        device,
        capabilities,
        artifacts,
        engine,
        clock,
        updater: updater.clone(),
        events: event_sender.clone(),
    }));
    let is_updating = saved_firmware.is_some_and(|firmware| firmware.update.is_some());
    executor.sweep_leftovers(is_updating).await;
    let history = EventLog::new();
    let places = Places::of(sources);
    say_lacking(&places);
    let parts = driver::Parts {
        persist: Saved(store),
        executor: Arc::clone(&executor),
        answer: Answers {
            executor: Arc::clone(&executor),
            settings: Arc::new(settings.clone()),
            store: StoreStatus::from(&loaded.condition),
            places,
            clock_floor_unix_ms: floor_unix_ms,
        },
        history: history.clone(),
        wall_unix_ms: Box::new(move || {
            Some(clock::wall_unix_ms()).filter(|wall| *wall >= floor_unix_ms)
        }),
    };
    let local_api = serve_local_api(&settings, query_sender, history);
    let boot = updater.map(|updater| tokio::spawn(watch_boot(updater, event_sender.clone())));
    let identity = tokio::spawn(watch_identity(settings.wfm.identity_dir.clone(), event_sender));

    let mut watchdog = Watchdog::from_env();
    let wait_max = watchdog.wait_max();
    let mut is_ready = false;
    let mut restore = RestoreWatch::new(began_ms);
    let driver = Driver::new(loaded.document.unwrap_or_default(), policy, parts);
    let driver = driver.with_progress(move |state| {
        if !is_ready {
            is_ready = true;
            supervise::ready();
            let elapsed_ms = clock::boottime_ms().saturating_sub(began_ms);
            log_message!(
                catalog::AGENT_STARTED,
                version = env!("CARGO_PKG_VERSION"),
                elapsed_ms,
                "up after {elapsed_ms} ms, {}",
                state.stage()
            );
        }
        restore.look(state);
        watchdog.progress();
    });
    let end = wait_for_end(sources, signals, provisioned);
    let end = driver.run(started, Inputs { events, queries }, end, wait_max).await;
    ended(identity).await;
    if let Some(boot) = boot {
        ended(boot).await;
    }
    if let Some(local_api) = local_api {
        // Until it has ended it answers on the socket, and takes the socket with it: the next run needs it.
        ended(local_api).await;
    }
    executor.note_stopping();
    Ok(end)
}

/// Aborts a task and waits until it is gone.
async fn ended(task: JoinHandle<()>) {
    task.abort();
    // Cancelled is what was asked for; a panic has been logged.
    let _ = task.await;
}

/// Resolves when the run is to end. A reload with a wrong configuration is logged and changes nothing.
async fn wait_for_end(
    sources: &Sources,
    signals: &mut Signals,
    provisioned: &mut Provisioned,
) -> End {
    loop {
        // Both are cancel-safe: a signal that is not taken stays, and so does a change of the file.
        let signal = tokio::select! {
            signal = signals.next() => signal,
            () = provisioned.changed() => Signal::Reload,
        };
        match signal {
            Signal::Terminate | Signal::Interrupt => {
                supervise::stopping();
                log_message!(catalog::AGENT_STOPPING, "stopping; workloads keep running");
                return End::Stop;
            }
            Signal::Reload => {
                supervise::reloading();
                match sources.load() {
                    Ok(settings) => return End::Reload(Box::new(settings)),
                    Err(errors) => {
                        supervise::ready();
                        log_message!(
                            catalog::CONFIG_INVALID,
                            "the configuration in force stays: {}",
                            ErrorChain(&errors)
                        );
                    }
                }
            }
        }
    }
}

/// A new device says by itself what it waits for.
fn say_lacking(places: &Places) {
    let lacking = places.lacking();
    if !lacking.is_empty() {
        log_message!(
            catalog::DEVICE_UNPROVISIONED,
            "lacking: {}; {}",
            lacking.join(", "),
            provision::WAYS
        );
    }
}

fn condition(condition: &Condition) -> StoreCondition {
    match condition {
        Condition::Fresh => {
            log_message!(catalog::STATE_FRESH, "nothing was ever saved here");
            StoreCondition::Fresh
        }
        Condition::Intact => StoreCondition::Intact,
        Condition::Healed { .. } => StoreCondition::Healed,
        Condition::Unhealed { damaged_file, reason, error } => {
            log_message!(
                catalog::STATE_UNHEALED,
                "{damaged_file}: {reason}; it stays so: {}",
                ErrorChain(error)
            );
            StoreCondition::Healed
        }
        Condition::Lost { reasons } => {
            log_message!(catalog::STATE_LOST, "{}", reasons.join("; "));
            StoreCondition::Lost
        }
    }
}

/// A preloaded desired state that cannot be used is an image that was built wrong: said loudly, and no reason not
/// to run what the WFM wants.
fn preload(
    settings: &Settings,
    artifacts: &Artifacts,
    saved: Option<&Durable>,
) -> Option<DesiredState> {
    let has_manifest = saved.is_some_and(|durable| durable.sync.accepted.is_some());
    if settings.behaviour.first_boot != FirstBoot::Preload || has_manifest {
        return None;
    }
    let timeout_ms = settings.retry.component_timeout_default_secs.saturating_mul(1_000);
    match crate::workload::preload(&settings.paths.preload_dir, artifacts, timeout_ms) {
        Ok(preload) => preload,
        Err(failure) => {
            log_message!(catalog::MANIFEST_REJECTED, "the preloaded desired state: {failure}");
            None
        }
    }
}

/// The updater, if the firmware is this agent's to update.
fn make_updater(settings: &Settings, facts: &BootFacts, sources: &Sources) -> Option<Updater> {
    if !facts.is_managed(settings.firmware.mode) {
        return None;
    }
    let health = Health {
        dirs: HEALTH_DIRS.iter().map(|dir| sources.root().join(dir)).collect(),
        check_timeout_ms: settings.firmware.health_check_timeout_secs.saturating_mul(1_000),
        require_running: settings.firmware.require_system_running,
    };
    Some(Updater::new(facts.clone(), health, Pace::default()))
}

/// The booted slot. RAUC is waited for only where nothing else knows the slot and an update is under way, which
/// would be given up without it.
async fn booted(
    updater: &Updater,
    facts: &BootFacts,
    saved: Option<&Firmware>,
    sources: &Sources,
) -> Option<BootSlot> {
    let seen = updater::first_sight(sources.root(), facts, saved).await;
    let is_under_way = saved.is_some_and(|saved| saved.update.is_some());
    if seen.is_some() || !is_under_way {
        return seen;
    }
    for _ in 0..BOOT_QUESTIONS_MAX {
        match updater.boot().await {
            Ok(boot) => return Some(boot),
            Err(failure) => tracing::warn!(%failure, "the booted slot is unknown, asking again"),
        }
    }
    tracing::error!("the booted slot stays unknown: the update is given up");
    None
}

/// Differs between devices, stays the same on one.
fn jitter_seed(settings: &Settings) -> u64 {
    let device = &settings.device;
    seed_of(&device.id, seed_of(&device.serial_number, 0))
}

fn serve_local_api(
    settings: &Settings,
    queries: mpsc::Sender<Query>,
    history: EventLog,
) -> Option<JoinHandle<()>> {
    match LocalApi::bind(&settings.paths.runtime_dir, &settings.local_api.group) {
        Ok(api) => Some(tokio::spawn(api.serve(queries, history))),
        Err(error) => {
            // Without it margoctl is blind, but the device does its work.
            tracing::error!(error = %ErrorChain(&error), "no control socket, going on without");
            None
        }
    }
}

async fn watch_identity(dir: PathBuf, events: mpsc::Sender<Event>) {
    identity::watch(dir, || {
        let events = events.clone();
        async move {
            // With the driver gone nobody needs to know.
            let _ = events.send(Event::IdentityChanged).await;
        }
    })
    .await;
}
