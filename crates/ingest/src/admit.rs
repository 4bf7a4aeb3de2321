use std::collections::HashMap;
use std::sync::Arc;

use model::{
    AccuracyBasis, Binding, DeviceId, Flags, Heard, PositionReport, Press, Privacy, SenderName, SignalKind, Timestamp,
    What,
};
use wire::{Decoded, Reply, proto};

use crate::codes::{Codes, Distrust};
use crate::gateways::Through;
use crate::holders::Hold;
use crate::{Allowed, Counters, DeviceRates, Intake, NotSettled, Setting};

/// A coarse place is never said to be better than this, in metres.
const COARSE_ACCURACY_M: f32 = 100.0;

/// Decides who may say something: device -> unit, refused by value, each refusal counted.
/// One per session, since it remembers whom it looked up last.
pub struct Admitter<I> {
    intake: Arc<I>,
    counters: Arc<Counters>,
    allowed: Arc<Allowed>,
    own: Arc<Allowed>,
    protocol: &'static str,
    through: Through,
    codes: Codes,
    hold: Hold,
    rates: Option<Arc<DeviceRates>>,
    last: Option<(DeviceId, Bound)>,
    /// By the number that the session gave a device.
    numbered: Vec<Option<Bound>>,
}

/// A binding, and the generation of the roster in which it was asked for.
#[derive(Debug, Clone, Copy)]
struct Bound {
    binding: Binding,
    generation: u32,
}

/// Why nobody is bound. The sender's fault, or that of whoever has not enrolled it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stranger {
    /// Neither the frame nor the session says who it is.
    Nameless,
    /// No unit carries it.
    Unknown,
    /// It may not speak at this listener.
    NotAllowed,
    /// Whoever logged on may not speak for it.
    NotOwn,
    /// It has not shown that it was registered here.
    Distrusted(Distrust),
    /// Another session speaks for it, and is heard.
    SecondSession,
}

/// The word under which reports of a session that is held are counted.
const SECOND_SESSION: &str = "second_session";

/// What became of some frames.
#[derive(Debug, Default)]
pub struct Admission {
    /// For the engine.
    pub heard: Vec<Heard>,
    /// How many of `heard` are positions. They count as admitted once the engine took them.
    pub reports: usize,
    /// What was not taken, in the order of each frame.
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
    pub fn new(setting: &Setting<I>, protocol: &'static str) -> Self {
        Self {
            intake: Arc::clone(&setting.intake),
            counters: Arc::clone(&setting.counters),
            allowed: Arc::clone(&setting.allowed),
            own: Arc::default(),
            protocol,
            through: Through::new(Arc::clone(&setting.gateways)),
            codes: Codes::needed(setting.allowed.needs_codes()),
            hold: Hold::new(Arc::clone(&setting.holders), protocol, setting.limits.idle),
            rates: setting.rates.clone(),
            last: None,
            numbered: Vec::new(),
        }
    }

    /// The session is a connection: when it ends, its gateway is gone unless it has another.
    #[must_use]
    pub const fn connected(mut self) -> Self {
        self.through.connected();
        self
    }

    /// Whoever logged on may speak for the devices of `own` only, whatever the listener allows.
    #[must_use]
    pub fn only(self, own: Arc<Allowed>) -> Self {
        Self { own, ..self }
    }

    /// A frame came of the gateway called `gateway`; `None` where there is none. To be said before the frame is admitted.
    pub fn hear(&mut self, gateway: Option<&SenderName>) {
        self.through.hear(gateway);
    }

    /// Forgets whom the session's numbers were of, where the session forgets its numbers.
    pub fn forget_numbers(&mut self) {
        self.numbered = Vec::new();
    }

    /// Adds to `admission` what becomes of what a frame said. Emergencies ring before anything is refused. `devices` are those that
    /// the session has numbered.
    pub fn admit(
        &mut self,
        decoded: &mut Decoded,
        devices: &[Option<DeviceId>],
        received: Timestamp,
        admission: &mut Admission,
    ) {
        self.counters.decoded(self.protocol, decoded.reports.len() + decoded.faults.len());
        self.ring(decoded, devices, received);
        let refused_before = admission.refusals.len();
        for (place, fault) in decoded.faults.drain(..) {
            self.refuse(admission, place, fault.reason(), fault.to_string());
        }
        let has_reports = !decoded.reports.is_empty();
        let has_press = decoded.signals.iter().any(|signal| matches!(signal.kind, SignalKind::Emergency { .. }));
        // A code counts from its own frame on.
        let spoken = self.spoken(decoded);
        self.reports(decoded, devices, received, admission);
        self.signals(decoded, has_reports, received, admission);
        for status in decoded.statuses.drain(..) {
            if let Err(reason) = self.intake.set_status(status, &self.own, self.protocol) {
                self.counters.frame_dropped(self.protocol, reason);
            }
        }
        let refusals = &mut admission.refusals[refused_before..];
        refusals.sort_by_key(|refusal| refusal.place);
        let has_to_be_stored = has_reports || has_press;
        if refusals.iter().any(|refusal| refusal.reason == SECOND_SESSION) {
            // What is held is neither stored nor given up: a terminal keeps it, and may be heard with it later. After a broken connection that is the
            // same terminal once more.
            spoken.iter().for_each(|_| self.counters.answer_withheld(self.protocol));
            return;
        }
        admission.answers.extend(spoken.into_iter().map(|spoken| spoken.answer(has_to_be_stored, refusals)));
    }

    /// What is said for each reply. Registrations get their code, and codes are checked.
    fn spoken(&mut self, decoded: &mut Decoded) -> Vec<Spoken> {
        let mut all = Vec::with_capacity(decoded.replies.len());
        for reply in decoded.replies.drain(..) {
            all.push(match reply {
                Reply::Always(bytes) => Spoken::Bytes(bytes),
                Reply::BatchAck { batch_sequence } => Spoken::BatchAck { batch_sequence },
                Reply::Registration(asked) => Spoken::Bytes(match self.known(decoded.device.as_ref()) {
                    Some(device) => asked.granted(self.intake.code(device).as_deref()),
                    None => asked.refused(),
                }),
                Reply::ByCode { shown, right, wrong } => {
                    let is_right = match self.known(decoded.device.as_ref()) {
                        Some(device) => self.has_shown(device, &shown),
                        None => false,
                    };
                    Spoken::Bytes(if is_right { right } else { wrong })
                }
            });
        }
        all
    }

    /// The device, if some unit carries it.
    fn known<'a>(&mut self, device: Option<&'a DeviceId>) -> Option<&'a DeviceId> {
        device.filter(|device| self.bound(device).is_ok())
    }

    /// Whether `device` shows its own code; always, where codes are not checked.
    fn has_shown(&mut self, device: &DeviceId, shown: &[u8]) -> bool {
        let Some(code) = self.intake.code(device) else { return true };
        let is_right = self.codes.show(device, shown, &code);
        if !is_right {
            self.counters.frame_dropped(self.protocol, "wrong_code");
        }
        is_right
    }

    fn reports(
        &mut self,
        decoded: &Decoded,
        devices: &[Option<DeviceId>],
        received: Timestamp,
        admission: &mut Admission,
    ) {
        let taken_before = admission.heard.len();
        let generation = self.intake.generation();
        for (at, (report, place)) in decoded.reports.iter().zip(&decoded.report_places).enumerate() {
            let device = || decoded.device_of(at, devices);
            let binding = match decoded.numbered.get(at) {
                Some(number) => self.resolve_number(*number, devices, generation),
                None => device().ok_or(Stranger::Nameless).and_then(|device| self.resolve(device)),
            };
            let taken = binding.map_err(Refused::Stranger).and_then(|binding| self.taken(binding, report, received));
            match taken {
                Ok(heard) => admission.heard.push(heard),
                Err(refused) => {
                    let (reason, detail) = refused.words(device());
                    self.refuse(admission, *place, reason, detail);
                }
            }
        }
        admission.reports += admission.heard.len() - taken_before;
    }

    /// A report of `binding` as it is handed over.
    fn taken(&self, binding: Binding, report: &PositionReport, received: Timestamp) -> Result<Heard, Refused> {
        let kept = self.kept(binding, report).ok_or(Refused::OffDuty)?;
        let is_backlog = report.flags.contains(Flags::BACKLOG);
        if self.rates.as_ref().is_some_and(|rates| !rates.has_room(binding.device, received, is_backlog)) {
            return Err(Refused::Rate);
        }
        Ok(Heard { binding, received, what: What::Report(kept) })
    }

    /// What may be kept of a report, `None`: nothing. Whoever presses the button is to be found, where it is.
    fn kept(&self, binding: Binding, report: &PositionReport) -> Option<PositionReport> {
        match self.intake.privacy(binding.unit) {
            _ if report.flags.contains(Flags::EMERGENCY) => Some(*report),
            Privacy::Open => Some(*report),
            Privacy::Coarse => Some(coarse(report)),
            Privacy::OffDuty => None,
        }
    }

    /// Rings for each button of a frame, with the first place that its device sent with the button pressed.
    fn ring(&self, decoded: &Decoded, devices: &[Option<DeviceId>], received_at: Timestamp) {
        let mut places = None;
        for signal in &decoded.signals {
            let (SignalKind::Emergency { delayed }, Some(device)) = (signal.kind, &signal.device) else { continue };
            // Made once, since a batch may hold as many buttons as reports; and only then, since most hold none.
            let places = places.get_or_insert_with(|| pressed_places(decoded, devices));
            let report = places.get(device).and_then(|at| decoded.reports.get(*at));
            self.intake.ring(Press {
                device: device.clone(),
                pressed_at: signal.time,
                received_at,
                is_delayed: delayed,
                place: report.map(|report| (report.position, report.time.unwrap_or(received_at))),
            });
        }
    }

    /// A frame with a place has made contact by it; only others need a signal of their own.
    fn signals(&mut self, decoded: &mut Decoded, has_reports: bool, received: Timestamp, admission: &mut Admission) {
        for signal in decoded.signals.drain(..) {
            let what = match signal.kind {
                SignalKind::LogOut => What::LogOut,
                _ if has_reports => continue,
                _ => What::Contact,
            };
            let binding = signal.device.as_ref().and_then(|device| self.resolve(device).ok());
            if let Some(binding) = binding.filter(|one| self.intake.privacy(one.unit) != Privacy::OffDuty) {
                admission.heard.push(Heard { binding, received, what });
            }
        }
    }

    /// Who `device` is, if it may say something here.
    fn resolve(&mut self, device: &DeviceId) -> Result<Binding, Stranger> {
        if let Some(distrust) = self.codes.distrust(device) {
            return Err(Stranger::Distrusted(distrust));
        }
        let binding = self.bound(device)?;
        // Only who is trusted may take a device from another session.
        if self.hold.has(binding.device, device) { Ok(binding) } else { Err(Stranger::SecondSession) }
    }

    /// Who `device` is. A frame of one device asks for the same again and again.
    fn bound(&mut self, device: &DeviceId) -> Result<Binding, Stranger> {
        let generation = self.intake.generation();
        if let Some((known, bound)) = &self.last
            && bound.generation == generation
            && known == device
        {
            return Ok(bound.binding);
        }
        let binding = self.ask(device)?;
        self.last = Some((device.clone(), Bound { binding, generation }));
        Ok(binding)
    }

    /// The same for the device of a number. Who is unknown is asked for each time: it may become known.
    fn resolve_number(
        &mut self,
        number: u32,
        devices: &[Option<DeviceId>],
        generation: u32,
    ) -> Result<Binding, Stranger> {
        let at = number as usize;
        if let Some(Some(bound)) = self.numbered.get(at)
            && bound.generation == generation
        {
            return Ok(bound.binding);
        }
        let binding = self.ask(devices.get(at).and_then(Option::as_ref).ok_or(Stranger::Nameless)?)?;
        if self.numbered.len() < devices.len() {
            self.numbered.resize(devices.len(), None);
        }
        self.numbered[at] = Some(Bound { binding, generation });
        Ok(binding)
    }

    /// Who may not speak here is not looked up: it leaves no trace in the quarantine, and makes no unit.
    fn ask(&self, device: &DeviceId) -> Result<Binding, Stranger> {
        if !self.allowed.has_device(device) {
            return Err(Stranger::NotAllowed);
        }
        if !self.own.has_device(device) {
            return Err(Stranger::NotOwn);
        }
        let binding = self.intake.resolve(device).ok_or(Stranger::Unknown)?;
        self.through.bind(binding);
        Ok(binding)
    }

    fn refuse(&self, admission: &mut Admission, place: u32, reason: &'static str, detail: String) {
        self.counters.refused(self.protocol, reason, 1);
        admission.refusals.push(Refusal { place, reason, detail });
    }
}

/// Why a report is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// Nobody is bound.
    Stranger(Stranger),
    /// Its unit is off duty.
    OffDuty,
    /// Its device sends more than it may.
    Rate,
}

impl Refused {
    /// The stable word, and what it means for a person.
    fn words(self, device: Option<&DeviceId>) -> (&'static str, String) {
        match self {
            Self::Stranger(stranger) => stranger.words(device),
            Self::OffDuty => ("off_duty", "nothing is kept of a unit that is off duty".to_owned()),
            Self::Rate => ("rate", "the device sends more than it may".to_owned()),
        }
    }
}

impl Stranger {
    /// The stable word, and what it means for a person.
    fn words(self, device: Option<&DeviceId>) -> (&'static str, String) {
        match (self, device) {
            (Self::Unknown, Some(device)) => ("unknown_device", format!("no unit carries `{device}`")),
            (Self::NotAllowed, Some(device)) => {
                ("device_not_allowed", format!("`{device}` is not among the `devices` of this listener"))
            }
            (Self::NotOwn, Some(device)) => (
                "device_not_allowed",
                format!("`{device}` is not among the devices that whoever logged on may speak for"),
            ),
            (Self::Distrusted(Distrust::WrongCode), Some(device)) => {
                ("wrong_code", format!("`{device}` has shown a code that is not its own"))
            }
            (Self::Distrusted(Distrust::NoCode), Some(device)) => {
                ("no_code", format!("`{device}` has not shown the code of its registration, which this listener needs"))
            }
            (Self::SecondSession, Some(device)) => {
                (SECOND_SESSION, format!("another session speaks for `{device}`, and is heard: this one is held"))
            }
            _ => ("no_identity", "neither the frame nor the session names a device".to_owned()),
        }
    }
}

/// The report without what tells more than about where its device is.
fn coarse(report: &PositionReport) -> PositionReport {
    let wider = report.accuracy_m.map_or(COARSE_ACCURACY_M, |accuracy_m| accuracy_m + geodesy::COARSE_M);
    PositionReport {
        position: geodesy::coarse(report.position),
        accuracy_m: Some(wider.max(COARSE_ACCURACY_M)),
        accuracy_basis: Some(AccuracyBasis::Class),
        speed_mps: None,
        course_deg: None,
        altitude: None,
        flags: report.flags.with(Flags::COARSE),
        ..*report
    }
}

/// The first valid report of each device that was sent with its button pressed.
fn pressed_places<'a>(decoded: &'a Decoded, devices: &'a [Option<DeviceId>]) -> HashMap<&'a DeviceId, usize> {
    let mut places = HashMap::new();
    for (at, report) in decoded.reports.iter().enumerate() {
        if report.valid
            && report.flags.contains(Flags::EMERGENCY)
            && let Some(device) = decoded.device_of(at, devices)
        {
            places.entry(device).or_insert(at);
        }
    }
    places
}

/// What is said in answer to a frame, before it is known what was refused.
enum Spoken {
    Bytes(Vec<u8>),
    BatchAck { batch_sequence: u64 },
}

impl Spoken {
    fn answer(self, has_to_be_stored: bool, refusals: &[Refusal]) -> Answer {
        match self {
            Self::BatchAck { batch_sequence } => {
                Answer::Batch { batch_sequence, ack: wire::muster::ack(batch_sequence, refused(refusals)) }
            }
            Self::Bytes(bytes) if has_to_be_stored => Answer::Stored(bytes),
            Self::Bytes(bytes) => Answer::Session(bytes),
        }
    }
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

#[cfg(test)]
mod tests;
