use std::sync::Arc;

use model::{Binding, DeviceId, DeviceSignal, Flags, Heard, Press, SignalKind, Timestamp, What};
use wire::{Decoded, Reply, proto};

use crate::{Counters, Intake, NotSettled};

/// Decides who may say something: device -> unit, refused by value, each refusal counted.
/// One per session, since it remembers whom it looked up last.
pub struct Admitter<I> {
    intake: Arc<I>,
    counters: Arc<Counters>,
    protocol: &'static str,
    last: Option<(DeviceId, Option<Binding>)>,
}

/// What became of one frame.
#[derive(Debug, Default)]
pub struct Admission {
    /// For the engine.
    pub heard: Vec<Heard>,
    /// How many of `heard` are positions. They count as admitted once the engine took them.
    pub reports: usize,
    /// What was not taken, in the order of the frame.
    pub refusals: Vec<Refusal>,
    /// To be sent, in order, once it is known what became of `heard`.
    pub answers: Vec<Answer>,
}

/// What goes back for one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The frame held nothing to be stored (registration, authentication, heartbeat): it is answered also when the journal
    /// fails, since a terminal that is not let in sends no places.
    Session(Vec<u8>),
    /// It says that a report or an emergency is stored.
    Stored(Vec<u8>),
    /// It acknowledges a batch of a gateway, which is told when the batch is not stored.
    Batch {
        /// Which batch.
        batch_sequence: u64,
        /// The acknowledgement.
        ack: Vec<u8>,
    },
}

impl Answer {
    /// The bytes to send when the frame is settled (`Ok`), or is not; `None`: nothing is sent.
    #[must_use]
    pub fn bytes(self, settled: &Result<(), NotSettled>) -> Option<Vec<u8>> {
        match (self, settled) {
            (_, Err(NotSettled::Stopped)) => None,
            (Self::Session(bytes), _) | (Self::Stored(bytes) | Self::Batch { ack: bytes, .. }, Ok(())) => Some(bytes),
            (Self::Stored(_), Err(NotSettled::NotStored { .. })) => None,
            (Self::Batch { batch_sequence, .. }, Err(NotSettled::NotStored { reason, detail, is_applied })) => {
                let (reason, detail) = ((*reason).to_owned(), detail.clone());
                let applied = *is_applied;
                Some(wire::muster::not_stored(proto::NotStored { batch_sequence, reason, detail, applied }))
            }
        }
    }
}

impl Admission {
    /// Adds what became of the next frame.
    pub fn append(&mut self, mut next: Self) {
        self.heard.append(&mut next.heard);
        self.reports += next.reports;
        self.refusals.append(&mut next.refusals);
        self.answers.append(&mut next.answers);
    }
}

/// A report that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its place in the frame, from 0.
    pub place: u32,
    /// The stable word under which it is counted.
    pub reason: &'static str,
    /// Field, value and limit, for a person.
    pub detail: String,
}

impl<I: Intake> Admitter<I> {
    /// For one session of `protocol`.
    pub fn new(intake: Arc<I>, counters: Arc<Counters>, protocol: &'static str) -> Self {
        Self { intake, counters, protocol, last: None }
    }

    /// Takes what a frame said out of `decoded`. Emergencies ring before anything is refused.
    pub fn admit(&mut self, decoded: &mut Decoded, received: Timestamp) -> Admission {
        self.counters.decoded(self.protocol, decoded.reports.len() + decoded.faults.len());
        for signal in &decoded.signals {
            self.ring(signal, decoded, received);
        }
        let mut admission = Admission::default();
        for (place, fault) in decoded.faults.drain(..) {
            self.refuse(&mut admission, place, fault.reason(), fault.to_string());
        }
        let session_device = decoded.device.clone();
        let has_reports = !decoded.reports.is_empty();
        let has_press = decoded.signals.iter().any(|signal| matches!(signal.kind, SignalKind::Emergency { .. }));
        for (report, place) in decoded.reports.drain(..).zip(decoded.report_places.drain(..)) {
            let Some(device) = report.device.clone().or_else(|| session_device.clone()) else {
                self.refuse(
                    &mut admission,
                    place,
                    "no_identity",
                    "neither the frame nor the session names a device".into(),
                );
                continue;
            };
            match self.resolve(&device) {
                Some(binding) => admission.heard.push(Heard { binding, received, what: What::Report(report) }),
                None => self.refuse(&mut admission, place, "unknown_device", format!("no unit carries `{device}`")),
            }
        }
        admission.reports = admission.heard.len();
        self.signals(decoded, has_reports, received, &mut admission);
        admission.refusals.sort_by_key(|refusal| refusal.place);
        let known = session_device.is_none_or(|device| self.resolve(&device).is_some());
        let answer = |reply| answer_of(reply, known, has_reports || has_press, &admission.refusals);
        admission.answers = decoded.replies.drain(..).map(answer).collect();
        admission
    }

    fn ring(&self, signal: &DeviceSignal, decoded: &Decoded, received_at: Timestamp) {
        let (SignalKind::Emergency { delayed }, Some(device)) = (signal.kind, &signal.device) else { return };
        let of_device = |report: &&model::PositionReport| {
            report.valid && report.flags.contains(Flags::EMERGENCY) && report.device.as_ref() == Some(device)
        };
        let report = decoded.reports.iter().find(of_device);
        self.intake.ring(Press {
            device: device.clone(),
            pressed_at: signal.time,
            received_at,
            is_delayed: delayed,
            place: report.map(|report| (report.position, report.time.unwrap_or(received_at))),
        });
    }

    /// A frame with a place has made contact by it; only others need a signal of their own.
    fn signals(&mut self, decoded: &mut Decoded, has_reports: bool, received: Timestamp, admission: &mut Admission) {
        for signal in decoded.signals.drain(..) {
            let what = match signal.kind {
                SignalKind::LogOut => What::LogOut,
                _ if has_reports => continue,
                _ => What::Contact,
            };
            let binding = signal.device.as_ref().and_then(|device| self.resolve(device));
            if let Some(binding) = binding {
                admission.heard.push(Heard { binding, received, what });
            }
        }
    }

    fn resolve(&mut self, device: &DeviceId) -> Option<Binding> {
        match &self.last {
            Some((known, binding @ Some(_))) if known == device => *binding,
            _ => {
                let binding = self.intake.resolve(device);
                self.last = Some((device.clone(), binding));
                binding
            }
        }
    }

    fn refuse(&self, admission: &mut Admission, place: u32, reason: &'static str, detail: String) {
        self.counters.refused(self.protocol, reason, 1);
        admission.refusals.push(Refusal { place, reason, detail });
    }
}

fn answer_of(reply: Reply, is_known: bool, has_to_be_stored: bool, refusals: &[Refusal]) -> Answer {
    let bytes = match reply {
        Reply::BatchAck { batch_sequence } => {
            return Answer::Batch { batch_sequence, ack: wire::muster::ack(batch_sequence, refused(refusals)) };
        }
        Reply::Always(bytes) => bytes,
        Reply::ByAdmission { known, unknown } => {
            if is_known {
                known
            } else {
                unknown
            }
        }
    };
    if has_to_be_stored { Answer::Stored(bytes) } else { Answer::Session(bytes) }
}

/// The refusals as a gateway gets them.
fn refused(refusals: &[Refusal]) -> Vec<proto::Refused> {
    let of = |refusal: &Refusal| proto::Refused {
        index: refusal.place,
        reason: refusal.reason.to_owned(),
        detail: refusal.detail.clone(),
    };
    refusals.iter().map(of).collect()
}
