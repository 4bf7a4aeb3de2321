use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use index::{Change, Fix, Slot};
use model::{Flags, Heard, PositionReport, Timestamp, UnitHandle, What};
use tokio::sync::{mpsc, oneshot};

use crate::fusion::takes_over;
use crate::live::Live;
use crate::rules::{DeviceState, Judged, Outcome};

/// Messages taken from the queue at once.
const MESSAGES_AT_ONCE: usize = 64;

/// The engine was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine is stopped")]
pub struct Stopped;

/// There is no room in the engine's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine's queue is full")]
pub struct Full;

/// Ends when everything of a batch is settled. With [`Stopped`] it never will be: no acknowledgement may leave.
#[derive(Debug)]
pub struct Settlement(oneshot::Receiver<()>);

impl Future for Settlement {
    type Output = Result<(), Stopped>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|_| Stopped)
    }
}

pub(crate) enum Message {
    Batch(Vec<Heard>, oneshot::Sender<()>),
    Retire(UnitHandle),
    Stop,
}

pub(crate) fn batch(heard: Vec<Heard>) -> (Message, Settlement) {
    let (done, settled) = oneshot::channel();
    (Message::Batch(heard, done), Settlement(settled))
}

/// Applies messages until it is told to stop.
pub(crate) fn run(live: &Live, mut messages: mpsc::Receiver<Message>) {
    let mut writer = Writer { live, devices: Vec::new(), units: Vec::new(), changes: Vec::new() };
    let mut taken = Vec::with_capacity(MESSAGES_AT_ONCE);
    while messages.blocking_recv_many(&mut taken, MESSAGES_AT_ONCE) > 0 {
        for message in taken.drain(..) {
            match message {
                Message::Batch(heard, done) => {
                    heard.iter().for_each(|heard| writer.take(heard));
                    writer.flush();
                    live.counters.batch();
                    // Nobody may wait for it any more.
                    let _ = done.send(());
                }
                Message::Retire(unit) => writer.retire(unit),
                Message::Stop => return,
            }
        }
    }
}

/// What the writer knows of a unit: its slot as it will be once `changes` are applied.
#[derive(Debug, Clone, Copy, Default)]
struct UnitState {
    fix: Option<Fix>,
    interval_ms: Option<u32>,
    is_retired: bool,
}

struct Writer<'a> {
    live: &'a Live,
    devices: Vec<DeviceState>,
    units: Vec<UnitState>,
    changes: Vec<Change>,
}

impl Writer<'_> {
    fn take(&mut self, heard: &Heard) {
        let (unit, at) = (heard.binding.unit, heard.binding.unit.0 as usize);
        if self.units.len() <= at {
            self.units.resize_with(at + 1, UnitState::default);
        }
        match &heard.what {
            What::Report(_) if self.units[at].is_retired => self.live.counters.retired(),
            What::Report(report) => self.report(heard, report),
            What::Contact | What::LogOut => {
                self.live.counters.contact();
                self.changes.push(Change::Touch { unit, contact: heard.received });
            }
        }
    }

    fn report(&mut self, heard: &Heard, report: &PositionReport) {
        let (unit, device) = (heard.binding.unit, heard.binding.device.0 as usize);
        if self.devices.len() <= device {
            self.devices.resize_with(device + 1, DeviceState::default);
        }
        let kind = self.live.index.slot(unit).map_or(model::UnitKind::Unknown, |slot| slot.traits.kind);
        let judged = self.devices[device].judge(report, heard.received, kind);
        self.live.counters.outcome(judged.outcome);
        match judged.outcome {
            Outcome::Newest => {
                if let Some(name) = &report.device {
                    self.live.emergencies.locate(name, (report.position, judged.order_time));
                }
                let fix = fix_of(heard, report, judged);
                self.place(unit, fix, self.devices[device].interval_ms(), heard.received, kind);
            }
            Outcome::HeldJump => self.flag_jump(heard),
            Outcome::Duplicate | Outcome::Late | Outcome::NoFix => {
                self.changes.push(Change::Touch { unit, contact: heard.received });
            }
        }
    }

    fn place(&mut self, unit: UnitHandle, fix: Fix, interval_ms: Option<u32>, now: Timestamp, kind: model::UnitKind) {
        let state = &mut self.units[unit.0 as usize];
        let slot = Slot { fix: state.fix, expected_interval_ms: state.interval_ms, ..Slot::default() };
        let wins = state.fix.is_none_or(|current| takes_over(&current, slot.is_stale(now), &fix, now, kind));
        if !wins {
            self.changes.push(Change::Touch { unit, contact: now });
            return;
        }
        (state.fix, state.interval_ms) = (Some(fix), interval_ms);
        self.changes.push(Change::Place { unit, fix, contact: now, interval_ms });
    }

    /// The place stays; that another one waits for confirmation is shown on it.
    fn flag_jump(&mut self, heard: &Heard) {
        let (unit, state) = (heard.binding.unit, &mut self.units[heard.binding.unit.0 as usize]);
        match &mut state.fix {
            Some(fix) if fix.source == heard.binding.device => {
                fix.flags = fix.flags.with(Flags::JUMP);
                let (fix, interval_ms) = (*fix, state.interval_ms);
                self.changes.push(Change::Place { unit, fix, contact: heard.received, interval_ms });
            }
            _ => self.changes.push(Change::Touch { unit, contact: heard.received }),
        }
    }

    fn retire(&mut self, unit: UnitHandle) {
        let at = unit.0 as usize;
        if self.units.len() <= at {
            self.units.resize_with(at + 1, UnitState::default);
        }
        self.units[at] = UnitState { is_retired: true, ..UnitState::default() };
        self.live.index.withdraw(unit);
    }

    fn flush(&mut self) {
        self.live.index.apply(&self.changes);
        self.changes.clear();
    }
}

fn fix_of(heard: &Heard, report: &PositionReport, judged: Judged) -> Fix {
    Fix {
        position: report.position,
        time: judged.order_time,
        received: heard.received,
        source: heard.binding.device,
        time_basis: if report.time.is_some() { report.time_basis } else { model::TimeBasis::Receipt },
        speed_mps: report.speed_mps,
        course_deg: report.course_deg,
        altitude: report.altitude,
        accuracy_m: report.accuracy_m,
        accuracy_basis: report.accuracy_basis,
        flags: judged.flags,
    }
}
