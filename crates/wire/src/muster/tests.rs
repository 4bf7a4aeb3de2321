use model::Position;

use super::columns::UNKNOWN;
use super::*;

const CONTEXT: Context = Context { received: Timestamp::MIN };

fn report(device: &str, lat_e7: i32) -> proto::Report {
    proto::Report { device: device.into(), lat_e7, lon_e7: 1_083_000_000, ..Default::default() }
}

fn decode(session: &mut Session, payload: gateway_up::Payload) -> Result<Decoded, DecodeError> {
    let up = proto::GatewayUp { gateway: "g".into(), payload: Some(payload) };
    let mut decoded = Decoded::default();
    session.decode(&up.encode_to_vec(), &CONTEXT, &mut decoded).map(|()| decoded)
}

#[test]
fn a_bad_report_costs_itself_and_is_named_by_its_place() {
    let mut reports = vec![report("cot:a", 228_000_000), report("cot:b", 910_000_000), report("", 1), report("x", 1)];
    reports[1].emergency = true;
    reports.push(proto::Report { speed_mps: Some(f32::NAN), ..report("y", 1) });
    let batch = proto::ReportBatch { batch_sequence: 7, reports };
    let decoded = decode(&mut Session::default(), gateway_up::Payload::Reports(batch)).unwrap();
    assert_eq!(decoded.report_places, [0, 3]);
    assert_eq!(decoded.device_of(1, &[]).unwrap().as_str(), "muster:x");
    let faults: Vec<_> = decoded.faults.iter().map(|(place, error)| (*place, error.reason())).collect();
    assert_eq!(faults, [(1, "position"), (2, "malformed"), (4, "out_of_range")]);
    assert_eq!(decoded.signals[0].kind, SignalKind::Emergency { delayed: false });
    assert_eq!(decoded.replies, [Reply::BatchAck { batch_sequence: 7 }]);
}

#[test]
fn columns_say_the_same_as_rows() {
    let batch = proto::ColumnarBatch {
        batch_sequence: 1,
        new_devices: vec!["cot:a".into(), "cot:b".into()],
        device_index: vec![0, 1, 9],
        time_ms_delta: vec![1_000_000, 500, 0],
        lat_e7_delta: vec![228_000_000, -10, 0],
        lon_e7_delta: vec![1_083_000_000, 20, 0],
        speed_cmps: vec![100, UNKNOWN, UNKNOWN],
        ..Default::default()
    };
    let mut session = Session::default();
    let decoded = decode(&mut session, gateway_up::Payload::Columns(batch.clone())).unwrap();
    let second = &decoded.reports[1];
    assert_eq!(second.time, Timestamp::from_unix_ms(1_000_500));
    assert_eq!(second.position, Position::from_e7(227_999_990, 1_083_000_020).unwrap());
    assert_eq!((decoded.reports[0].speed_mps, second.speed_mps), (Some(1.0), None));
    assert_eq!(decoded.faults[0].1.to_string(), "`device_index` is 9, out of range");
    let short = proto::ColumnarBatch { new_devices: vec![], lon_e7_delta: vec![1], ..batch };
    let error = decode(&mut session, gateway_up::Payload::Columns(short)).unwrap_err();
    assert_eq!(error, DecodeError::Length { field: "lon_e7_delta", declared: 3, found: 1 });
}

#[test]
fn a_batch_is_numbered_by_the_gateway_that_was_named_last() {
    let mut session = Session::default();
    let mut number = |gateway: &str, payload: gateway_up::Payload| {
        let mut decoded = Decoded::default();
        let up = proto::GatewayUp { gateway: gateway.into(), payload: Some(payload) };
        let _ = session.read(up, &CONTEXT, &mut decoded);
        decoded.number.map(|number| (number.sender.to_string(), number.number, number.modulus))
    };
    let rows =
        |batch_sequence| gateway_up::Payload::Reports(proto::ReportBatch { batch_sequence, reports: Vec::new() });
    let columns =
        |batch_sequence| gateway_up::Payload::Columns(proto::ColumnarBatch { batch_sequence, ..Default::default() });
    let of = |name: &str, number| Some((format!("gateway:{name}"), number, Modulus::TwoTo64));
    assert_eq!(number("", rows(1)), None, "nobody was named yet");
    assert_eq!(number("north", gateway_up::Payload::Heartbeat(proto::Heartbeat {})), None, "not numbered");
    assert_eq!(number("", rows(2)), of("north", 2));
    assert_eq!(number("", columns(u64::MAX)), of("north", u64::MAX));
    assert_eq!(number("", rows(0)), None, "absent and 0 are the same bytes");
    assert_eq!(number("south", columns(7)), of("south", 7));
    assert_eq!(number("not a name", rows(8)), None, "and not south's either");
    let refused = proto::ColumnarBatch { batch_sequence: 9, device_index: vec![0], ..Default::default() };
    assert_eq!(number("south", gateway_up::Payload::Columns(refused)), of("south", 9), "refused, but it arrived");
}

#[test]
fn too_many_reports_are_refused_as_one() {
    let batch =
        proto::ReportBatch { batch_sequence: 1, reports: vec![proto::Report::default(); BATCH_REPORTS_MAX + 1] };
    let error = decode(&mut Session::default(), gateway_up::Payload::Reports(batch)).unwrap_err();
    assert_eq!(error.to_string(), "`reports in a batch` is 4097, out of range");
}

#[test]
fn a_stream_ends_with_a_batch_that_is_refused_as_a_whole() {
    let columns = proto::ColumnarBatch {
        new_devices: vec!["cot:a".into()],
        device_index: vec![0; BATCH_REPORTS_MAX + 1],
        lat_e7_delta: vec![1; BATCH_REPORTS_MAX + 1],
        lon_e7_delta: vec![1; BATCH_REPORTS_MAX + 1],
        ..Default::default()
    };
    let short = proto::ColumnarBatch { device_index: vec![0; 2], ..columns.clone() };
    let rows =
        proto::ReportBatch { reports: vec![proto::Report::default(); BATCH_REPORTS_MAX + 1], ..Default::default() };
    let payloads = [
        gateway_up::Payload::Columns(columns),
        gateway_up::Payload::Columns(short),
        gateway_up::Payload::Reports(rows),
    ];
    let up = |payload| proto::GatewayUp { gateway: "g".into(), payload: Some(payload) }.encode_to_vec();
    for frame in payloads.map(up).into_iter().chain([vec![0xFF; 4]]) {
        let mut decoded = Decoded::default();
        let error = Session::default().decode(&frame, &CONTEXT, &mut decoded).unwrap_err();
        let down = proto::GatewayDown::decode_length_delimited(&*decoded.last_word.unwrap()).unwrap();
        assert_eq!(down.payload, Some(gateway_down::Payload::Fault(proto::Fault { detail: error.to_string() })));
    }
    // What names no numbers costs itself.
    let presence = proto::Presence { device: "a b".into(), ..Default::default() };
    let mut decoded = Decoded::default();
    assert!(Session::default().decode(&up(gateway_up::Payload::Presence(presence)), &CONTEXT, &mut decoded).is_err());
    assert_eq!(decoded.last_word, None);
}

#[test]
fn a_session_numbers_so_many_devices_and_no_more() {
    let mut session = Session::default();
    let mut introduce = |devices: usize| {
        let new_devices = vec!["cot:a".to_owned(); devices];
        let batch = proto::ColumnarBatch { new_devices, ..Default::default() };
        decode(&mut session, gateway_up::Payload::Columns(batch)).map(drop)
    };
    let step = 4_096;
    for _ in 0..SESSION_DEVICES_MAX / step {
        introduce(step).unwrap();
    }
    introduce(0).unwrap();
    assert_eq!(introduce(1).unwrap_err().to_string(), "`new_devices` is 65537, out of range");
}

#[test]
fn a_status_says_whose_what_and_when_or_is_refused() {
    let change = proto::StatusChange {
        unit: "car-1".into(),
        status: proto::UnitStatus::Busy as i32,
        time_ms: Some(1_000),
        idempotency_key: "k".into(),
    };
    let read = |change: proto::StatusChange| {
        let mut decoded = Decoded::default();
        let up = proto::GatewayUp { gateway: "g".into(), payload: Some(gateway_up::Payload::Status(change)) };
        Session::default().read(up, &CONTEXT, &mut decoded).map(|()| decoded.statuses)
    };
    let status = model::TerminalStatus {
        unit: model::UnitName::new("car-1").unwrap(),
        status: model::Status::Busy,
        time: model::Timestamp::from_unix_ms(1_000),
        idempotency_key: "k".into(),
    };
    assert_eq!(read(change.clone()), Ok(vec![status]));
    for (bad, field) in [
        (proto::StatusChange { status: 0, ..change.clone() }, "status"),
        (proto::StatusChange { status: 99, ..change.clone() }, "status"),
        (proto::StatusChange { unit: String::new(), ..change.clone() }, "unit"),
        (proto::StatusChange { time_ms: Some(i64::MAX), ..change }, "time_ms"),
    ] {
        assert!(read(bad).unwrap_err().to_string().contains(field), "{field}");
    }
}
