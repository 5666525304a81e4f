//! The life of a seed: recoveries, services and disasters, one after the other, in an order that nobody has thought of.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::chance::Chance;
use super::checks::check;
use super::disk::{LyingDisk, Weather};
use super::of_error;
use super::people::{People, use_it};
use super::promises::Promises;
use super::recovery::{Old, Place, finish, read_private, recover};
use super::service::{Service, UnderWay};
use super::tally::Tally;
use super::world::{Dead, World};
use crate::core::{Event, Now, Role};
use crate::crypto::Digest;
use crate::format::Seqno;
use crate::journal::files::Operation;
use crate::node::opening::InterruptedOpening;
use crate::node::public::list;
use crate::node::status::NodeState;

/// Turns within which a service opens on a disk that does as it is told.
const PATIENCE: u32 = 3000;

/// One seed.
pub(super) struct Life<'w> {
    world: &'w World,
    dead: &'w Dead,
    /// Which of the dead services that is.
    pub(super) which: usize,
    place: &'w Place,
    pub(super) disk: LyingDisk,
    promises: Promises,
    rng: ChaCha20Rng,
    now: Now,
    pub(super) tally: Tally,
    /// The disk may be full, and nothing else ever happens to it.
    only_full: bool,
}

/// A service with those who use it.
struct Scene {
    service: Service,
    old: Old,
    people: People,
    /// Up to where others have agreed.
    agreed: u64,
    /// Its disk does as it is told.
    is_calm: bool,
}

impl<'w> Life<'w> {
    pub(super) fn new(world: &'w World, place: &'w Place, seed: u64, traced: bool) -> Result<Life<'w>, String> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let which = rng.below(world.services.len());
        let dead = world.services.get(which).ok_or("there is no dead service")?;
        let disk = LyingDisk::new(rng.branch(), traced);
        let files = dead.files.iter();
        let files = files.map(|(path, content)| match path.strip_prefix("ledger") {
            Ok(name) => (place.ledger.join(name), content.clone()),
            Err(_) => (
                place.snapshots.join(path.file_name().unwrap_or_default()),
                content.clone(),
            ),
        });
        disk.take_over(files.collect());
        let only_full = rng.one_in(6);
        disk.say(|| {
            format!(
                "seed {seed}: dead service {which}{}",
                if only_full { ", only full" } else { "" }
            )
        });
        Ok(Life {
            world,
            dead,
            which,
            place,
            disk,
            promises: Promises::default(),
            rng,
            now: Now {
                elapsed: Duration::ZERO,
                unix_s: 1_750_000_000,
            },
            tally: Tally::default(),
            only_full,
        })
    }

    /// What follows on a disaster of others, who leave these files; what they had promised is kept.
    pub(super) fn after(
        world: &'w World,
        place: &'w Place,
        (which, seed): (usize, u64),
        files: Vec<(PathBuf, Vec<u8>)>,
        kept: BTreeMap<Seqno, Digest>,
    ) -> Result<Life<'w>, String> {
        let mut life = Life::new(world, place, seed, false)?;
        (life.which, life.only_full) = (which, false);
        life.dead = world.services.get(which).ok_or("there is no dead service")?;
        life.disk.take_over(files);
        life.promises.kept = kept;
        // Later than anything in there.
        life.now.unix_s += 10_000_000;
        Ok(life)
    }

    /// Lives through it.
    pub(super) fn live(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.within(1, 3) {
            self.serve(false)?;
        }
        self.serve(true)?;
        self.look()
    }

    /// What a disaster has left: it is checked, and an opening that was interrupted is finished.
    pub(super) fn look(&mut self) -> Result<(), String> {
        self.place.put(&self.disk.durable())?;
        if self.tally.begun > 0 {
            check(self.place, &self.promises, &mut self.tally)?;
        }
        finish(self.place)?;
        let there = list(&self.place.config, &InterruptedOpening::default())
            .map_err(of_error)?
            .last_seqno();
        if let Some((first, opened)) = self.promises.service {
            match (opened, there >= first) {
                (true, false) => return Err(format!("the service from {first} on was open, and is set aside")),
                (false, false) => self.promises.forget_service(),
                (_, true) => {}
            }
        }
        Ok(())
    }

    /// A service from its recovery to its end; with `calm` the disk does as it is told, and the service opens.
    /// Answers what is left of it in memory.
    pub(super) fn serve(&mut self, calm: bool) -> Result<Service, String> {
        self.look()?;
        self.tally.begun += 1;
        self.disk.set_weather(Weather::default());
        let begins = (self.now, self.rng.branch());
        let before = self.promises.kept.len();
        let (service, old, dropped) = recover(self.world, self.place, &self.disk, &mut self.promises, begins)?;
        self.tally.dropped += u64::from(dropped);
        let mut scene = Scene {
            service,
            old,
            people: People::default(),
            agreed: 0,
            is_calm: calm,
        };
        scene.service.only_full = self.only_full;
        let crashes = !calm && !self.only_full && !self.rng.one_in(4);
        if crashes {
            let within = self.rng.pick(&[30, 120, 400]).unwrap_or(30);
            self.disk.crash_after(self.rng.below(within) as u64);
        }
        let ended = self.turns(&mut scene, calm, crashes)?;
        self.tally.promised += (self.promises.kept.len().saturating_sub(before)) as u64;
        self.tally.opened += u64::from(scene.service.is_open);
        self.now = scene.service.now;
        match ended {
            _ if self.disk.has_crashed() => self.lose_power(),
            true => {
                self.promises.stopped()?;
                // Nothing is left to lose.
                self.lose_power();
            }
            false if self.rng.one_in(2) => self.disk.shut_down(),
            false => self.lose_power(),
        }
        Ok(scene.service)
    }

    fn lose_power(&mut self) {
        self.tally.crashes += 1;
        self.disk.crash();
    }

    /// From here on the disk syncs nothing any more: the process ends, whatever else it waits for.
    fn fail_for_good(&mut self, scene: &mut Scene) -> Result<(), String> {
        self.disk.say(|| "the disk fails for good".to_owned());
        self.disk.set_weather(Weather {
            failed_syncs: 1000,
            ..Weather::default()
        });
        // There is something to bring to it.
        let sign = Event::Sign {
            end_chunk: false,
            snapshot: false,
        };
        scene.service.step(&mut self.promises, sign)?;
        for _ in 0..PATIENCE {
            if self.has_ended(scene) {
                self.tally.failed_for_good += u64::from(scene.service.has_given_up);
                return Ok(());
            }
            self.go_on(scene)?;
        }
        Err("the disk has failed for good, and the process goes on".to_owned())
    }

    /// Answers whether the service was stopped in order.
    fn turns(&mut self, scene: &mut Scene, calm: bool, crashes: bool) -> Result<bool, String> {
        let turns = self.rng.within(20, 260) as u32;
        let mut after_opening = self.rng.within(10, 80);
        let fails_at = (!calm && !self.only_full && self.rng.one_in(10)).then(|| self.rng.within(0, 200) as u32);
        for turn in 0.. {
            if self.has_ended(scene) {
                return Ok(false);
            }
            if fails_at == Some(turn) {
                self.fail_for_good(scene)?;
                return Ok(false);
            }
            let is_calm = calm || (!crashes && turn >= turns);
            if is_calm {
                self.disk.set_weather(Weather::default());
            } else if turn % 16 == 0 {
                self.change_weather();
            }
            if crashes && turn >= turns {
                return Ok(false);
            }
            if is_calm && scene.service.is_open {
                after_opening = after_opening.saturating_sub(1);
                if after_opening == 0 {
                    return self.stop(scene);
                }
            }
            if turn > turns + PATIENCE {
                return Err(format!("the service has not opened in {PATIENCE} turns on a calm disk"));
            }
            self.turn(scene)?;
        }
        Ok(false)
    }

    fn has_ended(&mut self, scene: &Scene) -> bool {
        self.tally.given_up += u64::from(scene.service.has_given_up);
        scene.service.has_given_up || self.disk.has_crashed()
    }

    fn change_weather(&mut self) {
        let is_full = self.rng.one_in(3);
        let mut weather = Weather {
            is_full,
            ..Weather::default()
        };
        if !self.only_full {
            weather.failures = self.rng.pick(&[0, 0, 20, 150, 500]).unwrap_or(0);
            weather.failed_syncs = self.rng.pick(&[0, 0, 100, 400, 900]).unwrap_or(0);
        }
        self.disk.set_weather(weather);
    }

    fn turn(&mut self, scene: &mut Scene) -> Result<(), String> {
        let (service, promises) = (&mut scene.service, &mut self.promises);
        let passed = self.rng.pick(&[0, 1, 5, 40, 150, 300]).unwrap_or(0);
        service.now.elapsed += Duration::from_millis(passed);
        service.now.unix_s += u64::from(self.rng.one_in(10));
        if scene.service.unread.is_some() {
            scene.service.state = NodeState::ReadingPrivateLedger;
        }
        let service = &mut scene.service;
        match self.rng.below(20) {
            0..=4 => self.perform(scene),
            5..=8 => service.deliver(promises),
            9 | 10 => service.step(promises, Event::Tick).map(drop),
            11 | 12 if service.is_open || !self.disk.is_calm() || self.rng.one_in(8) => use_it(service, promises),
            13 => service.write_snapshot(promises),
            14 if service.unread.is_some() => self.read_private(scene),
            15 | 16 if !service.is_open => scene.people.towards_opening(service, promises, self.dead).map(drop),
            15 | 16 => scene.people.govern(service, promises, self.dead),
            17 => self.elect(scene),
            _ => service.step(promises, Event::Tick).map(drop),
        }
    }

    /// Carries out what is under way. Where that matters most, the power is lost more often.
    fn perform(&mut self, scene: &mut Scene) -> Result<(), String> {
        let matters = scene.service.under_way.as_ref().is_some_and(|under_way| {
            under_way.result.is_none()
                && !matches!(under_way.operation, Operation::Write { .. } | Operation::Create { .. })
        });
        let is_calm = self.disk.is_calm();
        if matters && !is_calm && !self.only_full && self.rng.one_in(12) {
            self.disk.crash_after(self.rng.below(8) as u64);
        }
        self.perform_now(scene)
    }

    /// A cut is rare, and so is a sync that fails: both at once would hardly happen, unless one is made for the other.
    fn perform_now(&mut self, scene: &mut Scene) -> Result<(), String> {
        let is_cut = |under_way: &UnderWay| matches!(under_way.operation, Operation::Cut { .. });
        let may_fail = !scene.is_calm && !self.only_full && scene.service.under_way.as_ref().is_some_and(is_cut);
        let before = self.disk.weather();
        if may_fail && self.rng.one_in(2) {
            self.disk.set_weather(Weather {
                failed_syncs: 700,
                ..before
            });
        }
        let performed = scene.service.perform(&mut self.promises);
        self.disk.set_weather(before);
        performed
    }

    fn read_private(&mut self, scene: &mut Scene) -> Result<(), String> {
        let Some(opened) = scene.service.unread.take() else {
            return Ok(());
        };
        let base = read_private(self.place, &scene.old, &opened.secrets)?;
        scene.service.disk.say(|| "the private ledger is read".to_owned());
        scene.service.store.set_private(base);
        scene.service.before = Some(opened.latest);
        scene
            .service
            .step(&mut self.promises, Event::PrivateLedgerRead)
            .map(drop)
    }

    /// Others join in the writing, agree or not; and an election takes back what nobody else had.
    fn elect(&mut self, scene: &mut Scene) -> Result<(), String> {
        let (service, promises) = (&mut scene.service, &mut self.promises);
        if !service.is_open || !self.rng.one_in(3) {
            return Ok(());
        }
        if service.role == Role::Alone {
            service.disk.say(|| "there are others now".to_owned());
            service.role = Role::Primary;
            return service.step(promises, Event::Role(Role::Primary)).map(drop);
        }
        if self.rng.one_in(2) {
            let signed = service.core.last_signed().map_or(0, |last| last.txid.seqno);
            scene.agreed = scene.agreed.max(signed);
            service.disk.say(|| format!("the others agree up to {signed}"));
            return service.step(promises, Event::Committed(signed)).map(drop);
        }
        self.end_election(scene)
    }

    /// The others' word is waited for where they have agreed to what is not durable here.
    fn end_election(&mut self, scene: &mut Scene) -> Result<(), String> {
        let (service, promises) = (&mut scene.service, &mut self.promises);
        let to = service.core.committed();
        if scene.agreed > to {
            return Ok(());
        }
        let next = service.core.next();
        let view = next.view + self.rng.within(1, 3) as u64;
        self.tally.elections += u64::from(next.seqno > to + 1);
        service.disk.say(|| format!("an election: back to {to}, view {view}"));
        service.step(promises, Event::RollBack { to, view })?;
        scene.people.rolled_back();
        service.role = Role::Alone;
        service.step(promises, Event::Role(Role::Alone))?;
        let sign = Event::Sign {
            end_chunk: false,
            snapshot: false,
        };
        service.step(promises, sign).map(drop)
    }

    /// Stops in order; answers whether it came to that.
    fn stop(&mut self, scene: &mut Scene) -> Result<bool, String> {
        let mut turns = 0;
        while scene.service.role != Role::Alone {
            self.end_election(scene)?;
            self.go_on(scene)?;
            turns += 1;
            if turns > PATIENCE {
                return Err("others have agreed, and it is never committed".to_owned());
            }
        }
        scene.service.disk.say(|| "stop".to_owned());
        scene.service.step(&mut self.promises, Event::Stop)?;
        while !scene.service.has_stopped {
            if self.has_ended(scene) {
                return Ok(false);
            }
            self.go_on(scene)?;
            turns += 1;
            if turns > 2 * PATIENCE {
                return Err("the service does not stop".to_owned());
            }
        }
        Ok(true)
    }

    fn go_on(&mut self, scene: &mut Scene) -> Result<(), String> {
        scene.service.now.elapsed += Duration::from_millis(50);
        self.perform_now(scene)?;
        if self.disk.has_crashed() {
            return Ok(());
        }
        scene.service.deliver(&mut self.promises)?;
        scene.service.write_snapshot(&mut self.promises)?;
        scene.service.step(&mut self.promises, Event::Tick).map(drop)
    }
}
