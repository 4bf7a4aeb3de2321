use bytes::BufMut as _;
use wire::proto::{Ack, Refused};

use super::*;

fn start() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-23T06:00:00Z").unwrap()
}

fn gateway(carrier: Carrier, devices: usize, interval: Duration) -> (Gateway, Arc<Counters>) {
    gateway_of(carrier, Batches::Rows, devices, interval)
}

fn gateway_of(carrier: Carrier, batches: Batches, devices: usize, interval: Duration) -> (Gateway, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let member = |number: usize| Member {
        name: format!("owntracks:community-{number:05}"),
        unit: 0,
        slot: 0,
        cadence: Cadence::new(interval, number),
        alarm: (number == 3).then_some(interval * 2),
    };
    let members = (0..devices).map(member).collect();
    let forces = Arc::new(Forces::new(1, 7));
    let (name, counted) = ("gateway-1".to_owned(), Arc::clone(&counters));
    (Gateway::new(name, forces, start(), carrier, batches, members, counted), counters)
}

/// All batches that a gateway makes until `end`.
fn batches(gateway: &mut Gateway, end: Duration) -> Vec<ReportBatch> {
    let mut batches = Vec::new();
    while gateway.next_report() < end {
        let mut out = BytesMut::new();
        let now = gateway.wake().max(gateway.tick.saturating_sub(TICK));
        gateway.speak(now, &mut out).unwrap();
        if out.is_empty() {
            continue;
        }
        let up = match gateway.carrier {
            Carrier::Stream => GatewayUp::decode_length_delimited(out).unwrap(),
            Carrier::Datagrams => {
                assert!(out.len() <= 1_400, "{} bytes", out.len());
                GatewayUp::decode(out).unwrap()
            }
        };
        assert_eq!(up.gateway, "gateway-1");
        if let Some(gateway_up::Payload::Reports(batch)) = up.payload {
            batches.push(batch);
        }
        gateway.waiting.clear();
    }
    batches
}

#[test]
fn each_device_reports_once_an_interval_at_its_planned_time() {
    for (carrier, batch_max) in [(Carrier::Stream, STREAM_REPORTS_MAX), (Carrier::Datagrams, DATAGRAM_REPORTS_MAX)] {
        let (mut gateway, counters) = gateway(carrier, 3_000, Duration::from_secs(1));
        let batches = batches(&mut gateway, Duration::from_secs(4));
        assert!(batches.iter().all(|batch| (1..=batch_max).contains(&batch.reports.len())));
        assert!((1..).zip(&batches).all(|(sequence, batch)| batch.batch_sequence == sequence));
        let reports: Vec<&Report> = batches.iter().flat_map(|batch| &batch.reports).collect();
        assert_eq!((reports.len(), counters.tally().reports), (12_000, 12_000));
        let of_one: Vec<i64> = reports
            .iter()
            .filter(|report| report.device == "owntracks:community-00007")
            .map(|report| report.time_ms.unwrap() - start().unix_ms())
            .collect();
        let first = Cadence::new(Duration::from_secs(1), 7).due().as_millis() as i64;
        assert_eq!(of_one, [first, first + 1_000, first + 2_000, first + 3_000]);
        let pressed: Vec<&str> = reports.iter().filter(|r| r.emergency).map(|r| r.device.as_str()).collect();
        assert_eq!(pressed, ["owntracks:community-00003"], "the button is pressed once");
    }
}

#[test]
fn batches_stay_far_below_the_limit_of_a_frame() {
    let (mut gateway, _) = gateway(Carrier::Stream, 50_000, Duration::from_secs(1));
    let mut out = BytesMut::new();
    gateway.speak(Duration::from_secs(1), &mut out).unwrap();
    assert!(out.len() < model::limits::MUSTER_FRAME_BYTES_MAX / 2 + 50_000, "{} bytes", out.len());
}

#[test]
fn acknowledgements_settle_their_batch_once_and_refusals_are_counted() {
    let (mut gateway, counters) = gateway(Carrier::Stream, 50, Duration::from_secs(1));
    let mut out = BytesMut::new();
    gateway.speak(Duration::from_millis(100), &mut out).unwrap();
    gateway.speak(Duration::from_millis(200), &mut out).unwrap();
    let sent = counters.tally().reports;
    let refused = |index| Refused { index, reason: "unknown_device".to_owned(), detail: String::new() };
    let ack = Ack { batch_sequence: 1, refused: vec![refused(0), refused(2)] };
    let down = GatewayDown { payload: Some(gateway_down::Payload::Ack(ack)) }.encode_length_delimited_to_vec();
    let mut inbox = BytesMut::new();
    for byte in down.iter().chain(&down) {
        inbox.put_u8(*byte);
        gateway.hear(Duration::from_millis(201), &mut inbox, &mut out).unwrap();
    }
    let tally = counters.tally();
    assert_eq!((tally.answered + tally.unanswered, gateway.outstanding()), (sent, 1));
    assert!(tally.answered > 0 && tally.unanswered > 0);
    assert_eq!(tally.refused["unknown_device"], 2);
}

#[test]
fn a_new_connection_begins_with_what_was_not_acknowledged() {
    let (mut gateway, counters) = gateway(Carrier::Stream, 50, Duration::from_secs(1));
    let mut first = BytesMut::new();
    for tick in 1..=3 {
        gateway.speak(Duration::from_millis(100 * tick), &mut first).unwrap();
    }
    let ack = Ack { batch_sequence: 1, refused: Vec::new() };
    let down = GatewayDown { payload: Some(gateway_down::Payload::Ack(ack)) }.encode_length_delimited_to_vec();
    gateway.hear(Duration::from_millis(301), &mut BytesMut::from(&down[..]), &mut first).unwrap();
    let mut second = BytesMut::new();
    gateway.open(Duration::from_millis(400), &mut second);
    let mut sequences = Vec::new();
    while let Ok(up) = GatewayUp::decode_length_delimited(&mut second) {
        let Some(gateway_up::Payload::Reports(batch)) = up.payload else { panic!("only batches are sent again") };
        sequences.push(batch.batch_sequence);
    }
    assert_eq!((sequences, counters.tally().resent), (vec![2, 3], 2));
}

#[test]
fn a_gateway_with_256_unsettled_batches_waits() {
    let (mut gateway, counters) = gateway(Carrier::Stream, 1_000, Duration::from_secs(1));
    let mut out = BytesMut::new();
    while gateway.wake() != NEVER {
        let now = gateway.wake();
        gateway.speak(now, &mut out).unwrap();
    }
    assert_eq!(gateway.outstanding(), 256);
    let sent = counters.tally().reports;
    gateway.miss_before(Duration::from_secs(60));
    assert_eq!(sent + counters.tally().missed, 60_000, "what is not sent is counted");
}

#[test]
fn a_fault_or_nonsense_ends_the_connection() {
    let (mut gateway, _) = gateway(Carrier::Stream, 1, Duration::from_secs(1));
    let fault = wire::proto::Fault { detail: "batch is too long".to_owned() };
    let down = GatewayDown { payload: Some(gateway_down::Payload::Fault(fault)) }.encode_length_delimited_to_vec();
    let mut hear = |bytes: &[u8]| gateway.hear(Duration::ZERO, &mut BytesMut::from(bytes), &mut BytesMut::new());
    assert!(matches!(hear(&down), Err(Fault::Refused { .. })));
    assert!(matches!(hear(&[0xFF; 8]), Err(Fault::Garbled { .. })));
    assert!(matches!(hear(&[2, 0xFF, 0xFF]), Err(Fault::Garbled { .. })));
    assert!(hear(&[0x80]).is_ok(), "half a length");
}

/// What a server understands of all messages in `bytes`, on one connection: number, device, time and place of each report.
fn understood(bytes: &mut BytesMut) -> Vec<(u64, String, Timestamp, model::Position)> {
    let protocol = wire::protocol("muster").unwrap();
    let (mut decoder, mut decoded, mut all) = ((protocol.decoder)(), wire::Decoded::default(), Vec::new());
    while let wire::Cut::Frame { frame, consumed } = protocol.framing.cut(bytes) {
        decoded.clear();
        decoder.decode(&bytes[frame], &wire::Context { received: start() }, &mut decoded).unwrap();
        assert!(decoded.faults.is_empty(), "{:?}", decoded.faults);
        for (at, report) in decoded.reports.iter().enumerate() {
            let device = decoded.device_of(at, decoder.devices()).unwrap().to_string();
            all.push((decoded.number.as_ref().unwrap().number, device, report.time.unwrap(), report.position));
        }
        bytes.advance(consumed);
    }
    all
}

#[test]
fn columns_say_what_rows_say_in_fewer_bytes() {
    let spoken = |batches| {
        let (mut gateway, _) = gateway_of(Carrier::Stream, batches, 500, Duration::from_secs(1));
        let mut out = BytesMut::new();
        (1..=20).for_each(|tick| gateway.speak(Duration::from_millis(100 * tick), &mut out).unwrap());
        let bytes = out.len();
        (understood(&mut out), bytes)
    };
    let ((rows, row_bytes), (columns, column_bytes)) = (spoken(Batches::Rows), spoken(Batches::Columns));
    assert_eq!(rows, columns);
    assert!(rows.len() > 900 && column_bytes < row_bytes * 2 / 3, "{column_bytes} of {row_bytes} bytes");
}

#[test]
fn a_new_connection_learns_the_names_of_what_is_sent_again_and_of_what_follows() {
    let (mut gateway, _) = gateway_of(Carrier::Stream, Batches::Columns, 50, Duration::from_secs(1));
    let mut first = BytesMut::new();
    (1..=3).for_each(|tick| gateway.speak(Duration::from_millis(100 * tick), &mut first).unwrap());
    let sent = understood(&mut first);
    let ack = Ack { batch_sequence: 1, refused: Vec::new() };
    let down = GatewayDown { payload: Some(gateway_down::Payload::Ack(ack)) }.encode_length_delimited_to_vec();
    gateway.hear(Duration::from_millis(301), &mut BytesMut::from(&down[..]), &mut first).unwrap();
    let mut second = BytesMut::new();
    gateway.open(Duration::from_millis(350), &mut second);
    (4..=12).for_each(|tick| gateway.speak(Duration::from_millis(100 * tick), &mut second).unwrap());
    let again = understood(&mut second);
    let unacknowledged: Vec<_> = sent.into_iter().filter(|(number, ..)| *number > 1).collect();
    assert!(!unacknowledged.is_empty() && again.starts_with(&unacknowledged), "{again:?}");
    let numbers: std::collections::BTreeSet<u64> = again.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (2..=12).collect());
}
