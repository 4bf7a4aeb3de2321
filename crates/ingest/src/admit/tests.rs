use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::sync::Mutex;

use model::{DeviceHandle, UnitHandle};
use wire::{Context, Decoder as _};

use super::*;
use crate::QueueFull;

/// A roster, and how often it was asked.
#[derive(Default)]
struct Roster {
    bindings: Mutex<BTreeMap<String, Binding>>,
    generation: Mutex<u32>,
    asked: Mutex<usize>,
    presses: Mutex<Vec<Press>>,
    /// Codes are checked, and each is that of its device's name.
    checks_codes: bool,
    privacy: Mutex<BTreeMap<u32, Privacy>>,
}

impl Roster {
    fn enrol(&self, device: &str, unit: u32) {
        let binding = Binding { device: DeviceHandle(unit), unit: UnitHandle(unit) };
        self.bindings.lock().unwrap().insert(device.to_owned(), binding);
    }

    fn retire(&self, device: &str) {
        self.bindings.lock().unwrap().remove(device);
        *self.generation.lock().unwrap() += 1;
    }

    fn asked(&self) -> usize {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Intake for Roster {
    type Settlement = Ready<Result<(), NotSettled>>;

    fn resolve(&self, device: &DeviceId) -> Option<Binding> {
        *self.asked.lock().unwrap() += 1;
        self.bindings.lock().unwrap().get(device.as_str()).copied()
    }

    fn generation(&self) -> u32 {
        *self.generation.lock().unwrap()
    }

    fn privacy(&self, unit: UnitHandle) -> Privacy {
        self.privacy.lock().unwrap().get(&unit.0).copied().unwrap_or(Privacy::Open)
    }

    fn code(&self, device: &DeviceId) -> Option<Vec<u8>> {
        self.checks_codes.then(|| device.as_str().as_bytes().to_vec())
    }

    fn ring(&self, press: Press) {
        self.presses.lock().unwrap().push(press);
    }

    fn submit(&self, _: Vec<Heard>) -> impl Future<Output = Result<Self::Settlement, NotSettled>> + Send {
        ready(Ok(ready(Ok(()))))
    }

    fn try_submit(&self, _: Vec<Heard>) -> Result<Self::Settlement, QueueFull> {
        Ok(ready(Ok(())))
    }
}

/// No test of admission asks for the time.
struct Never;

impl model::Clock for Never {
    fn now(&self) -> Timestamp {
        Timestamp::MIN
    }

    fn monotonic(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

/// A session of a gateway, on a roster with `a` in unit 1 and `b` in unit 2.
struct Gateway {
    roster: Arc<Roster>,
    session: wire::muster::Session,
    admitter: Admitter<Roster>,
}

impl Gateway {
    fn new() -> Self {
        let roster = Arc::new(Roster::default());
        roster.enrol("cot:a", 1);
        roster.enrol("cot:b", 2);
        Self::at(Setting::of(roster, Arc::new(Never)))
    }

    fn at(setting: Setting<Roster>) -> Self {
        let admitter = Admitter::new(&setting, "muster");
        Self { roster: setting.intake, session: wire::muster::Session::default(), admitter }
    }

    fn columns(&mut self, new_devices: &[&str], device_index: &[u32], flags: &[u32]) -> Admission {
        let count = device_index.len();
        let batch = proto::ColumnarBatch {
            batch_sequence: 1,
            new_devices: new_devices.iter().map(ToString::to_string).collect(),
            device_index: device_index.to_vec(),
            lat_e7_delta: vec![100_000; count],
            lon_e7_delta: vec![100_000; count],
            flags: flags.to_vec(),
            ..proto::ColumnarBatch::default()
        };
        self.take(proto::gateway_up::Payload::Columns(batch))
    }

    fn take(&mut self, payload: proto::gateway_up::Payload) -> Admission {
        let up = proto::GatewayUp { gateway: "g".into(), payload: Some(payload) };
        let (mut decoded, mut admission) = (Decoded::default(), Admission::default());
        let received = Timestamp::MIN;
        let bytes = prost::Message::encode_to_vec(&up);
        self.session.decode(&bytes, &Context { received }, &mut decoded).unwrap();
        self.admitter.admit(&mut decoded, self.session.devices(), received, &mut admission);
        admission
    }
}

fn units(admission: &Admission) -> Vec<u32> {
    admission.heard.iter().map(|heard| heard.binding.unit.0).collect()
}

fn refusals(admission: &Admission) -> Vec<(u32, &str)> {
    admission.refusals.iter().map(|refusal| (refusal.place, refusal.reason)).collect()
}

#[test]
fn a_numbered_device_is_looked_up_once() {
    let mut gateway = Gateway::new();
    assert_eq!(units(&gateway.columns(&["cot:a", "cot:b"], &[0, 1, 0], &[])), [1, 2, 1]);
    assert_eq!(gateway.roster.asked(), 2);
    assert_eq!(units(&gateway.columns(&[], &[1, 1, 0], &[])), [2, 2, 1]);
    assert_eq!(gateway.roster.asked(), 0);
}

#[test]
fn whoever_logged_on_speaks_for_its_own_devices_only_and_the_others_are_counted() {
    let mut gateway = Gateway::new();
    let own = Allowed::new(&[], &["cot:a*".to_owned()]).unwrap();
    gateway.admitter = gateway.admitter.only(Arc::new(own));
    let admission = gateway.columns(&["cot:a", "cot:b"], &[0, 1, 0], &[]);
    assert_eq!((units(&admission), refusals(&admission)), (vec![1, 1], vec![(1, "device_not_allowed")]));
    assert_eq!(gateway.roster.asked(), 1, "who may not be spoken for leaves no trace");
}

#[test]
fn a_device_that_moved_to_another_unit_speaks_for_that_from_the_next_batch_on() {
    let mut gateway = Gateway::new();
    gateway.columns(&["cot:a", "cot:b"], &[0, 1], &[]);
    gateway.roster.retire("cot:a");
    let admission = gateway.columns(&[], &[0, 1], &[]);
    assert_eq!((units(&admission), refusals(&admission)), (vec![2], vec![(0, "unknown_device")]));
    gateway.roster.enrol("cot:a", 3);
    assert_eq!(units(&gateway.columns(&[], &[0, 1], &[])), [3, 2]);
}

#[test]
fn an_unknown_device_is_refused_by_each_report_and_known_once_it_is_enrolled() {
    let mut gateway = Gateway::new();
    let admission = gateway.columns(&["cot:b", "cot:new", "no name"], &[1, 0, 1, 2, 7], &[]);
    assert_eq!(units(&admission), [2]);
    let unknown = "unknown_device";
    assert_eq!(refusals(&admission), [(0, unknown), (2, unknown), (3, "out_of_range"), (4, "out_of_range")]);
    assert_eq!(admission.refusals[0].detail, "no unit carries `cot:new`");
    assert_eq!(admission.reports, 1);
    gateway.roster.enrol("cot:new", 9);
    assert_eq!(units(&gateway.columns(&[], &[1, 0], &[])), [9, 2]);
}

#[test]
fn a_button_in_a_batch_rings_with_the_place_of_its_own_device() {
    let mut gateway = Gateway::new();
    gateway.columns(&["cot:a", "cot:new"], &[0, 0, 1], &[0, 0, 2]);
    let presses = std::mem::take(&mut *gateway.roster.presses.lock().unwrap());
    assert_eq!(presses.len(), 1, "an unknown device rings all the same");
    assert_eq!(presses[0].device.as_str(), "cot:new");
    assert_eq!(presses[0].place.map(|(position, _)| position.lat_e7()), Some(300_000));
}

#[test]
fn each_button_rings_with_the_first_place_of_its_device_however_many_there_are() {
    let mut gateway = Gateway::new();
    let devices = (0..2_048).map(|number| format!("cot:{number}")).collect::<Vec<_>>();
    let names = devices.iter().map(String::as_str).collect::<Vec<_>>();
    // Each device reports twice; without a fix there is no place, so the second report of the first device counts.
    let index = (0..2_048).chain(0..2_048).collect::<Vec<_>>();
    let flags = index.iter().enumerate().map(|(at, _)| if at == 0 { 3 } else { 2 }).collect::<Vec<_>>();
    gateway.columns(&names, &index, &flags);
    let presses = std::mem::take(&mut *gateway.roster.presses.lock().unwrap());
    let places = presses.iter().map(|press| press.place.unwrap().0.lat_e7() / 100_000).collect::<Vec<_>>();
    let first = std::iter::once(2_049).chain(2..=2_048).collect::<Vec<_>>();
    assert_eq!(places, [first.clone(), first].concat());
}

#[test]
fn rows_are_each_of_the_device_that_they_name() {
    let mut gateway = Gateway::new();
    let report = |device: &str| proto::Report { device: device.into(), lat_e7: 1, ..proto::Report::default() };
    let reports = ["cot:b", "a b", "cot:a", "cot:z"].map(report).to_vec();
    let admission =
        gateway.take(proto::gateway_up::Payload::Reports(proto::ReportBatch { batch_sequence: 1, reports }));
    assert_eq!(units(&admission), [2, 1]);
    assert_eq!(refusals(&admission), [(1, "malformed"), (3, "unknown_device")]);
}

#[test]
fn a_terminal_whose_unit_was_retired_is_unknown_from_its_next_frame_on() {
    let mut gateway = Gateway::new();
    let contact = || {
        let presence = proto::Presence { device: "cot:a".into(), present: true, ..proto::Presence::default() };
        proto::gateway_up::Payload::Presence(presence)
    };
    assert_eq!(units(&gateway.take(contact())), [1]);
    assert_eq!(units(&gateway.take(contact())), [1]);
    assert_eq!(gateway.roster.asked(), 1);
    gateway.roster.retire("cot:a");
    assert!(units(&gateway.take(contact())).is_empty());
    gateway.roster.enrol("cot:a", 3);
    assert_eq!(units(&gateway.take(contact())), [3]);
}

#[test]
fn who_may_not_speak_here_is_refused_by_name_and_not_looked_up_and_rings_all_the_same() {
    let roster = Arc::new(Roster::default());
    roster.enrol("cot:a", 1);
    roster.enrol("cot:b", 2);
    let allowed = Allowed::new(&[], &["cot:a*".to_owned()]).unwrap();
    let mut gateway = Gateway::at(Setting { allowed: Arc::new(allowed), ..Setting::of(roster, Arc::new(Never)) });
    let admission = gateway.columns(&["cot:a", "cot:b"], &[0, 1, 1], &[0, 0, 2]);
    assert_eq!(units(&admission), [1]);
    assert_eq!(refusals(&admission), [(1, "device_not_allowed"), (2, "device_not_allowed")]);
    assert_eq!(admission.refusals[0].detail, "`cot:b` is not among the `devices` of this listener");
    assert_eq!(gateway.roster.asked(), 1);
    assert_eq!(gateway.admitter.counters.refused_so_far("muster", "device_not_allowed"), 2);
    assert_eq!(gateway.roster.presses.lock().unwrap().len(), 1);
}

/// A terminal of JT/T 808 with number 1 in unit 1, and one with number 2 in unit 2.
struct Terminals {
    roster: Arc<Roster>,
    decoder: Box<dyn wire::Decoder>,
    admitter: Admitter<Roster>,
    holders: Arc<crate::Holders>,
}

impl Terminals {
    fn new(checks_codes: bool, allowed: Allowed) -> Self {
        let roster = Arc::new(Roster { checks_codes, ..Roster::default() });
        roster.enrol("jt808:1", 1);
        roster.enrol("jt808:2", 2);
        let setting = Setting { allowed: Arc::new(allowed), ..Setting::of(Arc::clone(&roster), Arc::new(Never)) };
        let decoder = (wire::protocol("jt808").unwrap().decoder)();
        Self { roster, decoder, admitter: Admitter::new(&setting, "jt808"), holders: setting.holders }
    }

    fn take(&mut self, id: u16, phone: u8, body: &[u8]) -> Admission {
        let header = [&id.to_be_bytes()[..], &[0, body.len() as u8, 0, 0, 0, 0, 0, phone, 0, 9]].concat();
        let mut bytes = [&header, body].concat();
        bytes.push(bytes.iter().fold(0, |sum, byte| sum ^ byte));
        let (mut decoded, mut admission) = (Decoded::default(), Admission::default());
        let received = Timestamp::MIN;
        self.decoder.decode(&bytes, &Context { received }, &mut decoded).unwrap();
        self.admitter.admit(&mut decoded, &[], received, &mut admission);
        admission
    }

    /// The result in the answer to a 0x0102.
    fn authenticate(&mut self, phone: u8, code: &str) -> u8 {
        let admission = self.take(0x0102, phone, code.as_bytes());
        let [Answer::Session(bytes)] = &admission.answers[..] else { panic!("one answer") };
        bytes[17]
    }

    /// What becomes of a place, with or without the button.
    fn report(&mut self, phone: u8, alarm: u8) -> Vec<&'static str> {
        let admission = self.take_report(phone, alarm);
        assert_eq!(admission.answers.len(), 1, "the terminal is answered, or it would send it for ever");
        admission.refusals.iter().map(|refusal| refusal.reason).collect()
    }

    fn take_report(&mut self, phone: u8, alarm: u8) -> Admission {
        let mut body = vec![0, 0, 0, alarm, 0, 0, 0, 2];
        body.extend(22_000_000u32.to_be_bytes());
        body.extend(108_000_000u32.to_be_bytes());
        body.extend([0, 0, 0, 0, 0, 0, 0x26, 0x11, 0x23, 0x14, 0x25, 0x30]);
        self.take(0x0200, phone, &body)
    }
}

#[test]
fn a_terminal_with_a_wrong_code_is_told_so_and_nothing_is_taken_but_its_button() {
    let mut terminals = Terminals::new(true, Allowed::default());
    assert_eq!(terminals.report(1, 0), [""; 0], "on loopback who says nothing is believed");
    assert_eq!(terminals.authenticate(1, "jt808:2"), 1);
    assert_eq!(terminals.report(1, 0), ["wrong_code"]);
    assert!(terminals.take(0x0002, 1, &[]).heard.is_empty(), "nor is it in contact");
    assert_eq!(terminals.admitter.counters.dropped_so_far("jt808", "wrong_code"), 1);
    assert_eq!(terminals.report(1, 1), ["wrong_code"]);
    assert_eq!(terminals.roster.presses.lock().unwrap().len(), 1);
    assert_eq!(terminals.report(2, 0), [""; 0], "another one on the same connection speaks for itself");
    assert_eq!(terminals.authenticate(1, "jt808:1"), 0);
    assert_eq!(terminals.report(1, 0), [""; 0]);
}

#[test]
fn where_codes_are_needed_nothing_is_taken_before_one_is_shown() {
    let mut terminals = Terminals::new(true, Allowed::default().needing_codes());
    assert_eq!(terminals.report(1, 0), ["no_code"]);
    let answer = terminals.take(0x0100, 1, &[0; 37]).answers;
    let [Answer::Session(bytes)] = &answer[..] else { panic!("one answer") };
    assert_eq!((bytes[15], &bytes[16..23]), (0, &b"jt808:1"[..]), "registration gives the code");
    assert_eq!(terminals.report(1, 0), ["no_code"]);
    assert_eq!(terminals.authenticate(1, "jt808:1"), 0);
    assert_eq!(terminals.report(1, 0), [""; 0]);
    assert_eq!(terminals.authenticate(2, "jt808:"), 1, "a beginning is not enough");
    assert_eq!(terminals.authenticate(3, "jt808:3"), 1, "nor is a stranger's code");
}

/// What is held is not answered: after a broken connection it is the same terminal, which sends it again.
#[test]
fn a_second_session_is_not_answered_for_what_is_held_and_its_button_rings() {
    let mut terminals = Terminals::new(false, Allowed::default());
    let setting = Setting {
        holders: Arc::clone(&terminals.holders),
        ..Setting::of(Arc::clone(&terminals.roster), Arc::new(Never))
    };
    let mut first = Admitter::new(&setting, "jt808");
    std::mem::swap(&mut first, &mut terminals.admitter);
    assert_eq!(terminals.report(1, 0), [""; 0]);
    std::mem::swap(&mut first, &mut terminals.admitter);
    assert_eq!(terminals.authenticate(1, "old"), 0, "it may log on");
    let held = terminals.take_report(1, 1);
    assert_eq!((refusals(&held), held.heard.len(), held.answers.len()), (vec![(0, "second_session")], 0, 0));
    assert!(terminals.take(0x0002, 1, &[]).heard.is_empty(), "nor is the unit in contact by it");
    assert_eq!(terminals.roster.presses.lock().unwrap().len(), 1);
    assert_eq!(terminals.report(2, 0), [""; 0], "another device is its own");
    drop(first);
    assert_eq!(terminals.report(1, 0), [""; 0]);
}

#[test]
fn where_codes_are_not_checked_any_is_right() {
    let mut terminals = Terminals::new(false, Allowed::default());
    assert_eq!((terminals.authenticate(1, "old"), terminals.report(1, 0)), (0, vec![]));
}

#[test]
fn a_device_over_its_rate_is_refused_by_each_fix_and_rings_all_the_same() {
    let roster = Arc::new(Roster::default());
    roster.enrol("cot:a", 1);
    roster.enrol("cot:b", 2);
    let rates = Some(Arc::new(DeviceRates::new(20, 3)));
    let mut gateway = Gateway::at(Setting { rates, ..Setting::of(roster, Arc::new(Never)) });
    let admission = gateway.columns(&["cot:a", "cot:b"], &[0, 0, 0, 0, 1, 0], &[0, 0, 0, 0, 0, 2]);
    assert_eq!(units(&admission), [1, 1, 1, 2]);
    assert_eq!(refusals(&admission), [(3, "rate"), (5, "rate")]);
    assert_eq!(gateway.admitter.counters.refused_so_far("muster", "rate"), 2);
    assert_eq!(gateway.roster.presses.lock().unwrap().len(), 1);
}

#[test]
fn of_a_unit_off_duty_nothing_is_taken_but_its_button_with_the_place() {
    let mut gateway = Gateway::new();
    gateway.roster.privacy.lock().unwrap().insert(1, Privacy::OffDuty);
    let admission = gateway.columns(&["cot:a", "cot:b"], &[0, 1], &[]);
    assert_eq!((units(&admission), refusals(&admission)), (vec![2], vec![(0, "off_duty")]));
    let presence = proto::Presence { device: "cot:a".into(), present: true, ..proto::Presence::default() };
    assert!(
        gateway.take(proto::gateway_up::Payload::Presence(presence)).heard.is_empty(),
        "not even that it was there"
    );
    let admission = gateway.columns(&[], &[0], &[2]);
    assert_eq!(units(&admission), [1], "who presses the button is to be found");
    assert!(gateway.roster.presses.lock().unwrap()[0].place.is_some());
    gateway.roster.privacy.lock().unwrap().clear();
    assert_eq!(units(&gateway.columns(&[], &[0], &[])), [1], "on duty again, in the same session");
}

#[test]
fn a_volunteer_is_about_where_it_is_and_says_so_until_it_presses_the_button() {
    let mut gateway = Gateway::new();
    gateway.roster.privacy.lock().unwrap().insert(1, Privacy::Coarse);
    let reports = |admission: &Admission| -> Vec<PositionReport> {
        let report = |heard: &Heard| if let What::Report(report) = heard.what { report } else { panic!("a report") };
        admission.heard.iter().map(report).collect()
    };
    let admission = gateway.columns(&["cot:a", "cot:b"], &[0, 1], &[]);
    let [coarse, fine] = reports(&admission)[..] else { panic!("two reports") };
    assert_eq!((fine.position.lat_e7(), fine.flags), (200_000, Flags::default()));
    assert_eq!(coarse.position, geodesy::coarse(coarse.position), "the middle of a cell");
    assert_ne!(coarse.position.lat_e7(), 100_000);
    assert_eq!((coarse.accuracy_m, coarse.flags), (Some(100.0), Flags::COARSE));
    assert!(coarse.speed_mps.is_none() && coarse.course_deg.is_none());
    let pressed = reports(&gateway.columns(&[], &[0], &[2]))[0];
    assert_eq!((pressed.position.lat_e7(), pressed.flags), (100_000, Flags::EMERGENCY));
}
