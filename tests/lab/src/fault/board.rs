//! The board on which faults are pinned, shared by all servers. A server asks it once per request or connection.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use super::{Fault, FaultError, FaultId, FaultKind, ManifestDefect, Operation, Service};
use crate::pki::SvidDefect;

/// More faults than this at once are a mistake of the script.
const FAULTS_MAX: usize = 1000;

/// A fault that is set, with how often it has hit.
#[derive(Clone, Debug, Serialize)]
pub struct ActiveFault {
    /// Its name for clearing.
    pub id: FaultId,
    /// The fault as it was set; `count` is what is left of it.
    #[serde(flatten)]
    pub fault: Fault,
    /// Requests or connections it has hit so far.
    pub hits: u64,
}

/// All faults that are set now.
#[derive(Debug)]
pub struct FaultBoard {
    state: Mutex<BoardState>,
    /// Counts clearings, so that a hanging request notices.
    cleared: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct BoardState {
    faults: Vec<ActiveFault>,
    next_id: u64,
}

impl Default for FaultBoard {
    fn default() -> Self {
        Self { state: Mutex::default(), cleared: watch::Sender::new(0) }
    }
}

impl FaultBoard {
    /// Pins a fault.
    ///
    /// # Errors
    /// When it could never hit anything, which is a mistake in the test.
    pub fn set(&self, fault: Fault) -> Result<FaultId, FaultError> {
        if fault.count == Some(0) {
            return Err(FaultError::ZeroCount);
        }
        if !fault.kind.applies_to_service(fault.service) {
            let kind = fault.kind.to_string();
            return Err(FaultError::WrongService { kind, service: fault.service });
        }
        if let Some(operation) = fault.operation
            && (operation.service() != fault.service || !fault.kind.applies_to(operation))
        {
            let kind = fault.kind.to_string();
            return Err(FaultError::WrongOperation { kind, service: fault.service, operation });
        }
        let mut state = self.lock();
        state.next_id += 1;
        let id = FaultId(state.next_id);
        if state.faults.len() >= FAULTS_MAX {
            state.faults.remove(0);
        }
        state.faults.push(ActiveFault { id, fault, hits: 0 });
        Ok(id)
    }

    /// Takes one fault off the board, or all of them; says how many were taken off. Hanging requests end.
    pub fn clear(&self, id: Option<FaultId>) -> usize {
        let mut state = self.lock();
        let before = state.faults.len();
        state.faults.retain(|active| id.is_some_and(|id| active.id != id));
        let removed = before - state.faults.len();
        drop(state);
        self.cleared.send_modify(|count| *count += 1);
        removed
    }

    /// The faults that are set, oldest first.
    pub fn list(&self) -> Vec<ActiveFault> {
        self.lock().faults.clone()
    }

    /// The faults that hit a request of this operation; counts them down.
    pub(crate) fn hit_request(&self, operation: Operation) -> Hits {
        self.hit(|fault| {
            fault.service == operation.service()
                && fault.operation.is_none_or(|only| only == operation)
                && fault.kind.applies_to(operation)
        })
    }

    /// The faults that hit a new connection of this server; counts them down.
    pub(crate) fn hit_connection(&self, service: Service) -> Hits {
        self.hit(|fault| fault.service == service && fault.kind.is_connection_level())
    }

    /// Changes when somebody clears a fault after this call.
    pub(crate) fn cleared(&self) -> watch::Receiver<u64> {
        self.cleared.subscribe()
    }

    fn hit(&self, matches: impl Fn(&Fault) -> bool) -> Hits {
        let mut kinds = Vec::new();
        self.lock().faults.retain_mut(|active| {
            if !matches(&active.fault) {
                return true;
            }
            kinds.push(active.fault.kind.clone());
            active.hits += 1;
            match &mut active.fault.count {
                Some(left) => {
                    *left -= 1;
                    *left > 0
                }
                None => true,
            }
        });
        Hits { kinds }
    }

    fn lock(&self) -> MutexGuard<'_, BoardState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The faults that hit one request or connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hits {
    /// In the order in which they were set.
    pub(crate) kinds: Vec<FaultKind>,
}

impl Hits {
    pub(crate) fn has(&self, kind: &FaultKind) -> bool {
        self.kinds.contains(kind)
    }

    pub(crate) fn status(&self) -> Option<(u16, Option<u32>)> {
        self.kinds.iter().find_map(|kind| match kind {
            FaultKind::Status { code, retry_after_secs } => Some((*code, *retry_after_secs)),
            _ => None,
        })
    }

    pub(crate) fn slow(&self) -> Option<u32> {
        self.kinds.iter().find_map(|kind| match kind {
            FaultKind::Slow { bytes_per_second } => Some(*bytes_per_second),
            _ => None,
        })
    }

    pub(crate) fn cut(&self) -> Option<u64> {
        self.kinds.iter().find_map(|kind| match kind {
            FaultKind::Cut { after_bytes } => Some(*after_bytes),
            _ => None,
        })
    }

    pub(crate) fn manifest_defect(&self) -> Option<ManifestDefect> {
        self.kinds.iter().find_map(|kind| match kind {
            FaultKind::Manifest(defect) => Some(*defect),
            _ => None,
        })
    }

    pub(crate) fn server_svid(&self) -> Option<SvidDefect> {
        self.kinds.iter().find_map(|kind| match kind {
            FaultKind::ServerSvid(defect) => Some(*defect),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_fault_ends_by_itself_and_a_filter_is_kept() {
        let board = FaultBoard::default();
        board.set(Fault::wfm(FaultKind::WrongBytes).on(Operation::GetBundle).times(2)).unwrap();
        assert!(board.hit_request(Operation::GetDeployment).kinds.is_empty());
        assert!(board.hit_request(Operation::GetBundle).has(&FaultKind::WrongBytes));
        assert!(board.hit_request(Operation::GetBundle).has(&FaultKind::WrongBytes));
        assert!(board.hit_request(Operation::GetBundle).kinds.is_empty());
        assert!(board.list().is_empty());
    }

    #[test]
    fn a_fault_that_could_never_hit_is_refused() {
        let board = FaultBoard::default();
        for fault in [
            Fault::registry(FaultKind::OldVersion),
            Fault::mis(FaultKind::ServerSvid(SvidDefect::Expired)),
            Fault::wfm(FaultKind::OldVersion).on(Operation::GetBundle),
            Fault::wfm(FaultKind::Refuse).on(Operation::GetBundle),
            Fault::wfm(FaultKind::Hang).on(Operation::PullBlob),
            Fault::wfm(FaultKind::Hang).times(0),
        ] {
            assert!(board.set(fault.clone()).is_err(), "{fault:?} was accepted");
        }
    }

    #[test]
    fn clearing_one_fault_leaves_the_others() {
        let board = FaultBoard::default();
        let first = board.set(Fault::wfm(FaultKind::Hang)).unwrap();
        board.set(Fault::wfm(FaultKind::NoEtag)).unwrap();
        assert_eq!(board.clear(Some(first)), 1);
        assert_eq!(board.list().len(), 1);
        assert_eq!(board.clear(None), 1);
    }
}
