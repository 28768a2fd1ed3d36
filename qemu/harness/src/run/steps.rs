//! One step after the other.

use super::timeline::Timeline;
use super::world::World;
use crate::error::Outcome;
use crate::scenario::Step;
use crate::scenario::action::Action as A;
use std::time::{Duration, Instant};

/// How many times as long everything may take, from `MARGO_QEMU_PATIENCE`.
pub(crate) fn patience() -> u32 {
    let text = std::env::var("MARGO_QEMU_PATIENCE").unwrap_or_default();
    text.parse().unwrap_or(1).clamp(1, 100)
}

/// How many times as long the device's own limits are that the harness sets: scenarios wait for some of them to pass.
pub(crate) fn allowance() -> u32 {
    patience().div_ceil(2)
}

/// Carries a step out and notes it.
pub(crate) fn run(world: &mut World, step: &Step, timeline: &mut Timeline) -> Outcome {
    let began = Instant::now();
    if !matches!(step.action, A::Say { .. }) {
        timeline.begin(&step.text);
    }
    let within = step.within * patience();
    let did = act(world, &step.action, within);
    let (text, is_headline) = match &step.action {
        A::Say { text } => (text.as_str(), true),
        _ => (step.text.as_str(), false),
    };
    timeline.done(began, text, is_headline);
    did
}

fn act(world: &mut World, action: &A, within: Duration) -> Outcome {
    if matches!(
        action,
        A::ProvisionByHand
            | A::PreloadApp(_)
            | A::FillData { .. }
            | A::FreeData
            | A::DamageState { .. }
            | A::Guest { .. }
    ) {
        world.mounted(within)?;
    }
    match action {
        A::DeviceNew { memory_mib, cpus, disk_mib, clock } => {
            world.device_new(*memory_mib, *cpus, *disk_mib, clock.clone())
        }
        A::DeviceFrom { prepared } => world.device_from(prepared),
        A::Boot { with_network } => world.boot(*with_network, within),
        A::PowerOff => world.power_off(within),
        A::Reboot => world.reboot(within),
        A::Reset => world.press_reset(within),
        A::CutPower(moment) => {
            world.await_moment(moment, within)?;
            world.cut()
        }
        A::SetClock { clock } => {
            world.set_clock(clock);
            Ok(())
        }
        A::AwaitReboot => world.await_reboot(within),
        A::AwaitSlot { slot } => world.await_slot(slot, within),
        A::AwaitMoment(moment) => world.await_moment(moment, within),
        A::PlugConfigDrive { defect } => world.plug_config_drive(defect.as_deref()),
        A::UnplugConfigDrive => world.unplug_config_drive(),
        A::ProvisionByCredentials => world.provision_by_credentials(),
        A::ProvisionByHand => world.provision_by_hand(),
        A::Setting { text } => {
            world.facts.settings.push(text.clone());
            Ok(())
        }
        A::Say { .. } => Ok(()),
        A::Network { is_on } => world.vm()?.set_link(*is_on),
        A::Lab { service, is_on } => world.switch_lab(service, *is_on),
        A::Fault { service, kind, operation, count } => {
            world.fault(service, kind, operation.as_deref(), *count)
        }
        A::ClearFaults => {
            world.lab()?.clear_faults();
            Ok(())
        }
        A::Deploy(app) => world.deploy(app),
        A::Remove { app } => world.remove(app),
        A::PreloadApp(app) => world.preload(app),
        A::OrderFirmware { version, bundle } => world.order_firmware(version, bundle),
        A::FillData { leave_mib } => world.fill_data(*leave_mib),
        A::FreeData => world.free_data(),
        A::DamageState { which } => world.damage_state(which),
        A::DamageEnv { which } => world.damage_environment(which),
        A::DamageSlot { slot } => world.damage_slot(slot),
        A::SlowDisk { kib_per_second } => world.vm()?.throttle(kib_per_second.unwrap_or(0)),
        A::Hold { program, place, argument } => world.hold(program, place, argument),
        A::Release => world.release(),
        seeing => see(world, seeing, within),
    }
}

fn see(world: &mut World, action: &A, within: Duration) -> Outcome {
    match action {
        A::ExpectStage { stage } => world.expect_stage(stage, within),
        A::ExpectRunning { app, version } => world.expect_running(app, version, within),
        A::Remember { app } => world.remember(app),
        A::ExpectUnchanged { app } => world.expect_unchanged(app, within),
        A::ExpectDeployment { app, state } => world.expect_deployment(app, state, within),
        A::ExpectReport { subject, state, code } => {
            world.expect_report(subject, state, code.as_deref(), within)
        }
        A::ExpectNoReport { subject, state } => world.expect_no_report(subject, state),
        A::ExpectMessage { name, field } => world.expect_message(name, field.as_ref(), within),
        A::ExpectNoMessage { name } => world.expect_no_message(name),
        A::ExpectFirmware { version } => {
            world.wait("the version", within, |world| world.expect_firmware(version))
        }
        A::ExpectSlot { slot } => world.expect_slot(slot),
        A::ExpectSlotState { slot, state } => {
            world.wait("the slot's state", within, |world| world.expect_slot_state(slot, state))
        }
        A::ExpectUnit { unit, state } => world.expect_unit(unit, state, within),
        A::ExpectBootHealthy => world.expect_boot_healthy(within),
        A::ExpectSteady { duration } => world.expect_steady(*duration),
        A::Guest { command, exit, prints } => {
            world.guest(command, *exit, prints.as_deref(), within)
        }
        other => Err(crate::error::Trouble::new(format!("no way to do {other:?}"))),
    }
}
