//! What happened in the lab: one record for each request, one event for each thing worth a line, and a bell that rings with
//! every change so that waiting needs no polling.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::{broadcast, watch};

use crate::fault::{FaultKind, Operation, Service};
use crate::ids::{ClientId, DeploymentId};
use crate::report::StatusReport;

/// Requests remembered; older ones are forgotten.
const REQUESTS_KEPT: usize = 20_000;
/// Events a slow listener may lag behind before it misses some.
const EVENTS_BUFFERED: usize = 1024;

/// One request to one of the servers.
#[derive(Clone, Debug, Serialize)]
pub struct RequestRecord {
    /// Counts all requests of the lab from 1.
    pub index: u64,
    /// When it arrived, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The server.
    pub service: Service,
    /// The operation, where the path and method are one.
    pub operation: Option<Operation>,
    /// The connection it came on, see [`ConnectionBytes::id`](crate::ConnectionBytes::id).
    pub connection: u64,
    /// The client, where it is authenticated.
    pub client: Option<ClientId>,
    /// HTTP method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// The `If-None-Match` header as sent.
    pub if_none_match: Option<String>,
    /// The `Range` header as sent.
    pub range: Option<String>,
    /// HTTP status; `None` when a fault gave no answer.
    pub status: Option<u16>,
    /// Bytes of the request body as announced.
    pub request_bytes: u64,
    /// Bytes of the answer's body, had it not been cut.
    pub response_bytes: u64,
    /// Faults that hit it.
    pub faults: Vec<FaultKind>,
    /// Why it was refused.
    pub note: Option<String>,
}

impl fmt::Display for RequestRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} -> ", self.service, self.method, self.path)?;
        match self.status {
            Some(status) => write!(f, "{status}")?,
            None => f.write_str("no answer")?,
        }
        write!(f, " ({} B in, {} B out)", self.request_bytes, self.response_bytes)?;
        for fault in &self.faults {
            write!(f, " [{fault}]")?;
        }
        match &self.note {
            Some(note) => write!(f, ": {note}"),
            None => Ok(()),
        }
    }
}

/// Something worth a line.
#[derive(Clone, Debug)]
pub enum Event {
    /// A device reported its capabilities, and they are new or differ from before.
    Capabilities {
        /// Whose device.
        client: ClientId,
        /// The device.
        device: String,
        /// Vendor and model as reported.
        summary: String,
    },
    /// A device was unregistered.
    DeviceGone {
        /// Whose device.
        client: ClientId,
        /// The device.
        device: String,
    },
    /// The desired state changed here.
    Published {
        /// For whom.
        client: ClientId,
        /// Its new version.
        version: u64,
        /// Deployments it lists.
        deployments: usize,
    },
    /// A client fetched a version for the first time.
    Served {
        /// The client.
        client: ClientId,
        /// The version.
        version: u64,
    },
    /// A status report was accepted.
    Status(Box<StatusReport>),
    /// A request was refused with 4xx.
    Refused {
        /// The request, one line.
        request: String,
    },
    /// Somebody did not get through TLS.
    HandshakeFailed {
        /// The server.
        service: Service,
        /// Peer address.
        peer: String,
        /// The reason.
        reason: String,
    },
    /// A scripted fault hit.
    FaultHit {
        /// Where.
        operation: Option<Operation>,
        /// Which.
        faults: String,
    },
    /// A deployment was added, changed or removed here.
    Deployment {
        /// Which.
        id: DeploymentId,
        /// What was done: `added`, `updated` or `removed`.
        change: &'static str,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capabilities { client, device, summary } => {
                write!(f, "capabilities  {client}: device {device} ({summary})")
            }
            Self::DeviceGone { client, device } => {
                write!(f, "capabilities  {client}: device {device} unregistered")
            }
            Self::Published { client, version, deployments } => write!(
                f,
                "published     {client}: manifest {version} with {deployments} deployment(s)"
            ),
            Self::Served { client, version } => {
                write!(f, "served        {client}: fetched manifest {version}")
            }
            Self::Status(report) => write!(f, "status        {report}"),
            Self::Refused { request } => write!(f, "refused       {request}"),
            Self::HandshakeFailed { service, peer, reason } => {
                write!(f, "tls           {service}: {peer}: {reason}")
            }
            Self::FaultHit { operation, faults } => {
                write!(f, "fault         {faults}")?;
                match operation {
                    Some(operation) => write!(f, " on {operation}"),
                    None => Ok(()),
                }
            }
            Self::Deployment { id, change } => write!(f, "deployment    {id} {change}"),
        }
    }
}

/// The lab's diary.
#[derive(Debug)]
pub(crate) struct Journal {
    requests: Mutex<(u64, VecDeque<RequestRecord>)>,
    events: broadcast::Sender<Event>,
    changed: watch::Sender<u64>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            requests: Mutex::default(),
            events: broadcast::Sender::new(EVENTS_BUFFERED),
            changed: watch::Sender::new(0),
        }
    }
}

impl Journal {
    pub(crate) fn log(&self, mut record: RequestRecord) {
        if record.service == Service::Wfm && record.status.is_some_and(|s| (400..500).contains(&s))
        {
            self.say(Event::Refused { request: record.to_string() });
        }
        let mut requests = self.lock();
        requests.0 += 1;
        record.index = requests.0;
        if requests.1.len() >= REQUESTS_KEPT {
            requests.1.pop_front();
        }
        requests.1.push_back(record);
        drop(requests);
        self.ring();
    }

    pub(crate) fn say(&self, event: Event) {
        // Nobody listening is fine.
        let _listeners = self.events.send(event);
        self.ring();
    }

    /// Rings the bell: something that a waiter may look at has changed.
    pub(crate) fn ring(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn bell(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(crate) fn requests(&self) -> Vec<RequestRecord> {
        self.lock().1.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, (u64, VecDeque<RequestRecord>)> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
