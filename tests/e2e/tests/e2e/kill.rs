//! The agent is killed at twenty pseudo-random points of an update, started again, and converges each time without
//! touching what was right (I2, I6, I7, I8).
//!
//! `MARGO_KILL_SEED` repeats a run.

use margo_e2e::{App, Container, World, require_engine, wait_for};
use margo_lab::{DeploymentId, Event, State};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::Receiver;

const SERVICES: [&str; 3] = ["target/s1", "target/s2", "target/s3"];

/// Points of each kind.
const POINTS: u64 = 10;

/// A generator that anyone can repeat from its seed.
struct Dice(u64);

impl Dice {
    fn from_environment() -> Self {
        let given = std::env::var("MARGO_KILL_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock =
            || std::time::UNIX_EPOCH.elapsed().map_or(1, |now| u64::from(now.subsec_nanos()));
        let seed = given.unwrap_or_else(clock).max(1);
        println!("MARGO_KILL_SEED={seed}");
        Self(seed)
    }

    /// A number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

/// Two deployments that nobody changes, and one of three services that is updated again and again.
struct Story {
    world: World,
    bystanders: Vec<(DeploymentId, &'static str, Vec<Container>)>,
    target: DeploymentId,
    round: u64,
}

/// What an update undisturbed is like.
struct Normal {
    duration: Duration,
    log_lines: u64,
    lab_events: u64,
}

impl Story {
    async fn begin() -> Self {
        let mut world = World::new().await;
        world.agent.start();
        let left = world.deploy(&App::sleeping("left", "1.0.0", "one", 1));
        let right = world.deploy(&App::sleeping("right", "1.0.0", "one", 1));
        let target = world.deploy(&App::chain("target", "1.0.0", "0", 3));
        for id in [&left, &right, &target] {
            world.reported(id, State::Installed).await;
        }
        let mut bystanders = Vec::new();
        for (id, place) in [(left, "left/s1"), (right, "right/s1")] {
            let containers = world.running(&id, &[place]).await;
            bystanders.push((id, place, containers));
        }
        Self { world, bystanders, target, round: 0 }
    }

    fn publish(&mut self) {
        self.round += 1;
        let (revision, marker) = (format!("1.{}.0", self.round), self.round.to_string());
        self.world.update(&self.target, &App::chain("target", &revision, &marker, 3));
    }

    async fn measure(&mut self) -> Normal {
        let (mark, mut events) = (self.world.agent.log_mark(), self.world.lab.events());
        let began = Instant::now();
        self.publish();
        self.world.reported(&self.target, State::Installed).await;
        let duration = began.elapsed();
        let log_lines = self.world.agent.log_since(mark).lines().count();
        let mut lab_events = 0;
        while events.try_recv().is_ok() {
            lab_events += 1;
        }
        Normal { duration, log_lines: u64::try_from(log_lines).expect("few lines"), lab_events }
    }

    /// Kills now, starts again, and checks everything that must hold.
    async fn kill_and_check(&mut self, before: &[Container], point: &str) {
        let version = self.world.lab.version();
        let was_told = |world: &World, id: &DeploymentId| {
            let reports = world.lab.reports_of(id);
            reports
                .iter()
                .filter(|r| r.adopted_version == version && r.state == State::Installed)
                .count()
        };
        self.world.agent.kill().await;
        let told_before = was_told(&self.world, &self.target);
        let at_kill = self.world.engine.containers(self.target.as_str()).await;
        // Whatever the update has already brought up.
        let is_old = |id: &str| before.iter().any(|container| container.id == id);
        let done: Vec<&Container> = at_kill.iter().filter(|c| c.runs && !is_old(&c.id)).collect();
        println!("killed {point}, {} of 3 services at the new revision", done.len());

        self.world.agent.start();
        self.world.reported(&self.target, State::Installed).await;
        let after = self.world.running(&self.target, &SERVICES).await;
        for container in &after {
            assert!(!is_old(&container.id), "{point}: {container:?} is of the old revision");
            let marker = self.world.engine.inspect(&container.id, "{{.Config.Env}}").await;
            assert!(marker.contains(&format!("MARKER={}", self.round)), "{point}: {marker}");
        }
        for container in done {
            assert!(after.contains(container), "{point}: {container:?} was recreated: {after:?}");
        }
        for (id, place, containers) in &self.bystanders {
            assert_eq!(self.world.running(id, &[place]).await, *containers, "{point}");
        }
        wait_for("the outbox to be empty", || async {
            let status = self.world.agent.status().await?;
            if status.outbox_len == 0 { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
        // A report whose acceptance the kill kept from being recorded is repeated, word by word; else there is one.
        let reports = self.world.lab.reports_of(&self.target);
        let ends: Vec<_> = reports
            .iter()
            .filter(|r| r.adopted_version == version && r.state == State::Installed)
            .collect();
        assert!(ends.len() <= 1 + told_before, "{point}: {ends:#?}");
        assert!(ends.iter().all(|end| end.raw == ends[0].raw), "{point}: {ends:#?}");
        let failed = reports.iter().find(|report| report.state == State::Failed);
        assert!(failed.is_none(), "{point}: {failed:?}");
        for (id, ..) in &self.bystanders {
            let states = self.world.states(id);
            assert_eq!(states.iter().filter(|s| **s == State::Installed).count(), 1, "{states:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_times_spread_over_an_update() {
    if !require_engine() {
        return;
    }
    let mut dice = Dice::from_environment();
    let mut story = Story::begin().await;
    let normal = story.measure().await;
    println!("an update undisturbed takes {:?}", normal.duration);
    let slice = u64::try_from(normal.duration.as_micros()).expect("short") / POINTS;
    for point in 0..POINTS {
        let before = story.world.running(&story.target, &SERVICES).await;
        let after_us = point * slice + dice.below(slice);
        story.publish();
        // The point in time is what is tested.
        tokio::time::sleep(Duration::from_micros(after_us)).await;
        story.kill_and_check(&before, &format!("{after_us} us after publishing")).await;
    }
    story.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_log_lines_and_lab_events_of_an_update() {
    if !require_engine() {
        return;
    }
    let mut dice = Dice::from_environment();
    let mut story = Story::begin().await;
    let normal = story.measure().await;
    println!(
        "an update undisturbed: {} log lines, {} lab events",
        normal.log_lines, normal.lab_events
    );
    for point in 0..POINTS {
        let before = story.world.running(&story.target, &SERVICES).await;
        let events = story.world.lab.events();
        let mark = story.world.agent.log_mark();
        story.publish();
        let name = if point % 3 == 0 {
            let count = 1 + point / 3 % 3;
            started(&story, &before, count).await;
            format!("after container {count} was started")
        } else if point % 3 == 1 {
            let lines = 1 + dice.below(normal.log_lines);
            wait_for("log lines", || async {
                let seen = story.world.agent.log_since(mark).lines().count();
                if u64::try_from(seen).is_ok_and(|seen| seen >= lines) {
                    Ok(())
                } else {
                    Err(seen.to_string())
                }
            })
            .await;
            format!("after log line {lines}")
        } else {
            let count = 1 + dice.below(normal.lab_events);
            let last = nth(events, count).await;
            format!("after lab event {count}, {last}")
        };
        story.kill_and_check(&before, &name).await;
    }
    story.world.end().await;
}

/// Waits until so many new containers of the target run.
async fn started(story: &Story, before: &[Container], count: u64) {
    wait_for("new containers", || async {
        let now = story.world.engine.containers(story.target.as_str()).await;
        let is_new = |c: &&Container| c.runs && before.iter().all(|old| old.id != c.id);
        let seen = now.iter().filter(is_new).count();
        if u64::try_from(seen).is_ok_and(|seen| seen >= count) {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
}

/// Waits for so many events and returns the last.
async fn nth(mut events: Receiver<Event>, count: u64) -> Event {
    let mut left = count;
    let found = tokio::time::timeout(margo_e2e::PATIENCE, async {
        loop {
            let event = events.recv().await.expect("an event");
            left -= 1;
            if left == 0 {
                return event;
            }
        }
    });
    found.await.expect("enough events")
}
