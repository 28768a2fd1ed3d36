//! What must be seen in the device and at the fleet manager.

use super::moments::message_id;
use super::world::World;
use crate::error::{Outcome, Trouble};
use crate::guest::ctl;
use margo_lab::{State, StatusReport};
use std::time::{Duration, Instant};

impl World {
    /// The agent's stage.
    pub(crate) fn expect_stage(&mut self, stage: &str, timeout: Duration) -> Outcome {
        self.wait(&format!("stage {stage}"), timeout, |world| {
            let status = ctl::ask(&mut world.vm()?.probe, "status")?;
            let found = ctl::text(&status, "stage");
            let error = ctl::text(&status, "wfm.last_error.code");
            // A stage that is held while the fleet manager cannot be reached is not `synced`.
            let is_it = found == stage && (stage != "synced" || error.is_empty());
            seen(is_it, format!("{found} {error} {}", ctl::text(&status, "lacking")))
        })
    }

    /// All containers of an app run, at this version.
    pub(crate) fn expect_running(
        &mut self,
        app: &str,
        version: &str,
        timeout: Duration,
    ) -> Outcome {
        let what = format!("{app} {version} to run");
        self.wait(&what, timeout, |world| world.is_running(app, version)).map(drop)
    }

    /// Notes an app's containers.
    pub(crate) fn remember(&mut self, app: &str) -> Outcome {
        let ids = self.containers(app)?.into_iter().map(|container| container.id).collect();
        self.facts.remembered.insert(app.to_owned(), ids);
        Ok(())
    }

    /// The noted containers run, and no others.
    pub(crate) fn expect_unchanged(&mut self, app: &str, timeout: Duration) -> Outcome {
        let noted = self.facts.remembered.get(app).cloned();
        let noted = noted.ok_or_else(|| Trouble::new(format!("`remember {app}` comes first")))?;
        self.wait(&format!("{app}'s same containers to run"), timeout, |world| {
            let found = world.containers_when(noted.len(), app)?;
            let ids: Vec<&String> = found.iter().map(|container| &container.id).collect();
            let is_it = ids.iter().copied().eq(&noted) && found.iter().all(|c| c.is_running);
            seen(is_it, format!("{found:?}, noted {noted:?}"))
        })
    }

    /// What the device says of a deployment.
    pub(crate) fn expect_deployment(
        &mut self,
        app: &str,
        state: &str,
        timeout: Duration,
    ) -> Outcome {
        let id = self.deployed(app)?.id.as_str().to_owned();
        self.wait(&format!("{app} to be {state} in the device"), timeout, |world| {
            let told = ctl::ask(&mut world.vm()?.probe, &format!("deployment {id}"))?;
            let found = ctl::text(&told, "state");
            seen(found == state, format!("{found} {}", ctl::text(&told, "error.code")))
        })
    }

    /// The newest report about a deployment's present revision.
    pub(crate) fn expect_report(
        &mut self,
        subject: &str,
        state: &str,
        code: Option<&str>,
        timeout: Duration,
    ) -> Outcome {
        let state: State = state.parse().map_err(|_| Trouble::new("no such state"))?;
        self.wait(&format!("the report {subject} {state}"), timeout, |world| {
            let reports = world.reports_of(subject)?;
            let Some(last) = reports.last() else { return Err(Trouble::new("no report")) };
            let found = last.error.as_ref().map(|error| error.code.as_str());
            let is_it = last.state == state && code.is_none_or(|code| found == Some(code));
            seen(is_it, last.to_string())
        })
    }

    /// No report about the present revision has this state.
    pub(crate) fn expect_no_report(&mut self, subject: &str, state: &str) -> Outcome {
        let reports = self.reports_of(subject)?;
        match reports.iter().find(|report| report.state.name() == state) {
            Some(report) => Err(Trouble::new(format!("there is one: {report}"))),
            None => Ok(()),
        }
    }

    /// The reports about a deployment's present revision, in order.
    fn reports_of(&self, subject: &str) -> Outcome<Vec<StatusReport>> {
        let id = &self.deployed(subject)?.id;
        let lab = self.lab()?;
        let known = lab.client().and_then(|c| c.deployments.into_iter().find(|d| d.id == *id));
        let target_version = known.map_or(0, |known| known.target_version);
        let mut reports = lab.reports_of(id);
        reports.retain(|report| report.adopted_version >= target_version);
        Ok(reports)
    }

    /// The agent logged a message since the boot began.
    pub(crate) fn expect_message(
        &mut self,
        name: &str,
        field: Option<&(String, String)>,
        timeout: Duration,
    ) -> Outcome {
        let id = message_id(name)?;
        self.wait(&format!("the message {name} {field:?}"), timeout, |world| {
            let found = world.journal.find(world.boot_mark, |entry| entry.is(id, field));
            seen(found.is_some(), "not in the journal of this boot".to_owned())
        })
    }

    /// It did not.
    pub(crate) fn expect_no_message(&mut self, name: &str) -> Outcome {
        let id = message_id(name)?;
        match self.journal.find(self.boot_mark, |entry| entry.is(id, None)) {
            Some(entry) => Err(Trouble::new(format!("it was logged: {}", entry.field("MESSAGE")))),
            None => Ok(()),
        }
    }

    /// A unit's state.
    pub(crate) fn expect_unit(&mut self, unit: &str, state: &str, timeout: Duration) -> Outcome {
        self.wait(&format!("{unit} to be {state}"), timeout, |world| {
            let told = world.sh(&format!("systemctl show -p LoadState -p ActiveState {unit}"))?;
            let value = |key: &str| told.lines().find_map(|line| line.strip_prefix(key));
            let is_absent = matches!(value("LoadState="), Some("not-found" | "masked"));
            let found = if is_absent { "absent" } else { value("ActiveState=").unwrap_or("") };
            seen(found == state, found.to_owned())
        })
    }

    /// The boot is finished and nothing failed.
    pub(crate) fn expect_boot_healthy(&mut self, timeout: Duration) -> Outcome {
        self.wait("a finished boot without failed units", timeout, |world| {
            // It is told when the boot has ended: asking again and again would slow that down.
            let asked = "systemctl is-system-running --wait";
            let state = world.vm()?.probe.run(asked, timeout)?.output;
            if state.trim() == "running" {
                return Ok(());
            }
            let failed = world.sh("systemctl --failed --plain --no-legend | cut -d' ' -f1")?;
            let failed: Vec<&str> = failed.split_whitespace().collect();
            Err(Trouble::new(format!("{} {failed:?}", state.trim())))
        })
    }

    /// For that long nothing restarts and the shell answers.
    pub(crate) fn expect_steady(&mut self, duration: Duration) -> Outcome {
        let (began, resets) = (Instant::now(), self.vm()?.resets());
        while began.elapsed() < duration {
            self.sh("true")?;
            if self.vm()?.resets() != resets {
                return Err(Trouble::new("the device restarted"));
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }

    /// A command's exit code and output.
    pub(crate) fn guest(
        &mut self,
        command: &str,
        exit: i64,
        prints: Option<&str>,
        timeout: Duration,
    ) -> Outcome {
        self.wait(&format!("`{command}` to end with {exit}"), timeout, |world| {
            let ran = world.vm()?.probe.run(command, timeout)?;
            let is_it = ran.exit == exit && prints.is_none_or(|text| ran.output.contains(text));
            seen(is_it, format!("{} {}", ran.exit, ran.output.trim()))
        })
    }
}

fn seen(is_it: bool, found: String) -> Outcome {
    if is_it { Ok(()) } else { Err(Trouble::new(found)) }
}
