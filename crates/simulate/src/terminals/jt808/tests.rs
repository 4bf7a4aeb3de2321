use model::{Position, Timestamp};

use super::*;
use crate::{Fix, Forces};

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The place of vectors 11 and 12 of jt808.md.
fn fix() -> Fix {
    Fix {
        time: Timestamp::from_rfc3339("2026-11-23T14:25:30+08:00").unwrap(),
        position: Position::from_degrees(39.9087, 116.3975).unwrap(),
        altitude_m: 52.0,
        speed_mps: 61.3 / 3.6,
        course_deg: Some(271.0),
        accuracy_m: 10.0,
        emergency: true,
    }
}

const EXTRAS: Extras = Extras { status: STATUS, mileage_dkm: 12_345, signal: 25, satellites: 26 };

#[test]
fn location_is_vector_11_of_2013_and_vector_12_of_2019() {
    let body = codec::location_body(&fix(), &EXTRAS);
    assert_eq!(
        codec::frame(Issue::Of2013, "13800138000", LOCATION, 0x7E7D, &body),
        hex(concat!(
            "7e0200002e0138001380007d027d0100000001000c00030260f55c06f015bc00340265010f261123142530",
            "01040000303925040000000030011931011a787e"
        ))
    );
    assert_eq!(
        codec::frame(Issue::Of2019, "13800138000", LOCATION, 0x0102, &body),
        hex(concat!(
            "7e0200402e0100000000013800138000010200000001000c00030260f55c06f015bc00340265010f261123142530",
            "01040000303925040000000030011931011a397e"
        ))
    );
}

#[test]
fn south_and_west_are_status_bits_as_in_vector_2() {
    let place = Position::from_degrees(-19.591_535, -46.912_186).unwrap();
    let body = codec::location_body(&Fix { position: place, emergency: false, ..fix() }, &EXTRAS);
    assert_eq!(body[..8], hex("00000000000c000f"));
    assert_eq!(body[8..16], hex("012af16f02cbd2ba"));
}

#[test]
fn registration_is_vector_4_of_2013_and_vector_5_of_2019() {
    let plate = hex("D4C1413132333435");
    let registration = Registration {
        province: 40,
        city: 50,
        maker: "1234",
        model: "smallchi123",
        terminal: "CHI123",
        colour: 1,
        plate: &plate,
    };
    let frame = |issue| codec::frame(issue, "123456789", REGISTER, 10, &codec::register_body(issue, &registration));
    assert_eq!(
        frame(Issue::Of2013),
        hex(concat!(
            "7E0100002D000123456789000A002800323132333400736D616C6C6368693132330000000000000000004348493132330001",
            "D4C14131323334358A7E"
        ))
    );
    assert_eq!(
        frame(Issue::Of2019),
        hex(concat!(
            "7E010040540100000000000123456789000A002800323132333400000000000000736D616C6C636869313233000000000000",
            "0000000000000000000000000043484931323300000000000000000000000000000000000000000000000001D4C1413132333435B27E"
        ))
    );
}

#[test]
fn heartbeat_is_vector_6_and_authentication_vector_14() {
    assert_eq!(codec::frame(Issue::Of2013, "40021679287", HEARTBEAT, 43, &[]), hex("7E00020000040021679287002B7D027E"));
    let body = codec::authenticate_body(Issue::Of2019, b"AUTH1234", "867012345678901", "V1.0.0");
    assert_eq!(
        codec::frame(Issue::Of2019, "13800138000", AUTHENTICATE, 3, &body),
        hex(concat!(
            "7e0102402c0100000000013800138000000308415554483132333438363730313233343536373839303156312e302e30",
            "00000000000000000000000000009d7e"
        ))
    );
}

#[test]
fn answers_are_read_however_they_are_split() {
    // Vector 9, the acknowledgement of vector 11 with escapes, and vector 13 of 2019.
    let stream = hex(concat!(
        "7e8001000501234567890100017fff0002008f7e",
        "7e8001000501380013800000017d027d010200002e7e",
        "7e83004016010000000001380013800000020502c7ebc1a2bcb4c7b0cdf9c8cbc3f1c2b73132bac5477e"
    ));
    for step in [1, 3, 7, stream.len()] {
        let (mut inbox, mut answers) = (BytesMut::new(), Vec::new());
        for part in stream.chunks(step) {
            inbox.put_slice(part);
            while let Some(answer) = codec::next_answer(&mut inbox).unwrap() {
                answers.push(answer);
            }
        }
        assert_eq!(answers.len(), 3);
        assert_eq!(answers[0], Answer { id: PLATFORM_ACK, serial: 1, body: hex("7fff000200") });
        assert_eq!(answers[1].body, hex("7e7d020000"));
        assert_eq!((answers[2].id, answers[2].serial, answers[2].body.len()), (0x8300, 2, 22));
    }
}

#[test]
fn a_damaged_answer_ends_the_connection() {
    let wrong_checksum = "7e8001000501234567890100017fff0002008e7e";
    for bytes in [wrong_checksum, "00", "7e7d037e", "7e80017e"] {
        let mut inbox = BytesMut::from(hex(bytes).as_slice());
        assert!(matches!(codec::next_answer(&mut inbox), Err(Fault::Garbled { .. })), "{bytes}");
    }
}

/// A platform that is asked by hand.
struct Bench {
    vehicle: Vehicle,
    out: BytesMut,
    counters: Arc<Counters>,
}

impl Bench {
    fn new() -> Self {
        let start = Timestamp::from_rfc3339("2026-11-23T06:00:00Z").unwrap();
        let receiver = Receiver { forces: Arc::new(Forces::new(1, 7)), unit: 1, slot: 0, start };
        let counters = Arc::new(Counters::default());
        let cadence = Cadence::new(second(5), 0);
        let vehicle = Vehicle::new(Issue::Of2013, "13900000001", receiver, cadence, Arc::clone(&counters));
        Self { vehicle, out: BytesMut::new(), counters }
    }

    /// The ids and serials of what the vehicle said since the last time.
    fn said(&mut self) -> Vec<(u16, u16)> {
        let mut said = Vec::new();
        while let Some(message) = codec::next_answer(&mut self.out).unwrap() {
            said.push((message.id, message.serial));
        }
        said
    }

    fn tell(&mut self, now: Duration, id: u16, body: &[u8]) -> Result<(), Fault> {
        let frame = codec::frame(Issue::Of2013, "13900000001", id, 9, body);
        self.vehicle.hear(now, &mut BytesMut::from(frame.as_slice()), &mut self.out)
    }

    fn acknowledge(&mut self, serial: u16, id: u16, result: u8) -> Result<(), Fault> {
        let body = [serial.to_be_bytes(), id.to_be_bytes()].concat();
        self.tell(second(1), PLATFORM_ACK, &[body.as_slice(), &[result]].concat())
    }

    fn log_on(&mut self) {
        self.vehicle.open(Duration::ZERO, &mut self.out);
        assert_eq!(self.said(), [(REGISTER, 0)]);
        self.tell(Duration::ZERO, REGISTER_ANSWER, &[0, 0, 0, b'K', b'7']).unwrap();
        assert_eq!(self.said(), [(AUTHENTICATE, 1)]);
        self.acknowledge(1, AUTHENTICATE, 0).unwrap();
    }

    fn speak(&mut self, now: Duration) -> Result<(), Fault> {
        self.vehicle.speak(now, &mut self.out)
    }
}

#[test]
fn a_terminal_registers_authenticates_and_only_then_reports() {
    let mut bench = Bench::new();
    bench.vehicle.open(Duration::ZERO, &mut bench.out);
    bench.speak(second(5)).unwrap();
    assert_eq!(bench.said(), [(REGISTER, 0)], "nothing but the registration");
    let mut bench = Bench::new();
    bench.log_on();
    bench.speak(second(5)).unwrap();
    bench.acknowledge(2, LOCATION, 0).unwrap();
    bench.acknowledge(2, LOCATION, 0).unwrap();
    assert_eq!(bench.said(), [(LOCATION, 2)]);
    let tally = bench.counters.tally();
    assert_eq!((tally.reports, tally.answered, tally.unanswered, tally.frames), (1, 1, 0, 3), "twice answered is once");
    bench.vehicle.open(second(6), &mut bench.out);
    assert_eq!(bench.said(), [(AUTHENTICATE, 3)], "it kept its code");
}

#[test]
fn a_refused_log_on_is_counted_and_ends_the_connection() {
    let mut bench = Bench::new();
    bench.vehicle.open(Duration::ZERO, &mut bench.out);
    let refused = bench.tell(Duration::ZERO, REGISTER_ANSWER, &[0, 0, 4]);
    assert!(matches!(refused, Err(Fault::Refused { what: "registration", .. })));
    assert_eq!(bench.counters.tally().refused["login: no such terminal"], 1);
    let mut bench = Bench::new();
    bench.log_on();
    bench.vehicle.open(second(6), &mut bench.out);
    bench.out.clear();
    assert!(bench.acknowledge(2, AUTHENTICATE, 1).is_err());
    bench.vehicle.open(second(7), &mut bench.out);
    assert_eq!(bench.said(), [(REGISTER, 3)], "its code is worth nothing: it registers again");
    assert_eq!(
        bench.speak(second(17)),
        Err(Fault::NoAnswer { what: "registration", seconds: 10 }),
        "silence is no answer"
    );
}

#[test]
fn an_unanswered_report_is_repeated_twice_with_its_serial_and_then_the_terminal_hangs_up() {
    let mut bench = Bench::new();
    bench.log_on();
    bench.speak(second(5)).unwrap();
    assert_eq!(bench.said(), [(LOCATION, 2)]);
    bench.speak(second(15)).unwrap();
    bench.speak(second(25)).unwrap();
    assert_eq!(bench.said(), [(LOCATION, 2), (LOCATION, 2)]);
    assert!(matches!(bench.speak(second(35)), Err(Fault::NoAnswer { .. })));
    let tally = bench.counters.tally();
    assert_eq!((tally.reports, tally.resent, tally.answered, tally.unanswered), (1, 2, 0, 1));
}

#[test]
fn refused_reports_are_counted_by_reason_and_orders_are_answered() {
    let mut bench = Bench::new();
    bench.log_on();
    bench.speak(second(5)).unwrap();
    bench.acknowledge(2, LOCATION, 1).unwrap();
    assert_eq!(bench.counters.tally().refused["failed"], 1);
    assert_eq!(bench.counters.tally().answered, 1);
    bench.tell(second(6), 0x8300, &[5, b'G', b'o']).unwrap();
    bench.tell(second(6), 0x8201, &[]).unwrap();
    assert_eq!(bench.said(), [(LOCATION, 2), (TERMINAL_ACK, 3), (LOCATION_ANSWER, 4)]);
    assert_eq!(bench.counters.tally().orders, 2);
}

#[test]
fn an_idle_terminal_sends_a_heartbeat_after_30_seconds() {
    let mut bench = Bench::new();
    bench.vehicle.cadence = Cadence::new(second(600), 0);
    bench.log_on();
    assert_eq!(bench.vehicle.wake(), second(30));
    bench.speak(second(30)).unwrap();
    assert_eq!(bench.said(), [(HEARTBEAT, 2)]);
}
