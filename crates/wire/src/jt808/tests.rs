use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn print(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const CONTEXT: Context = Context { received: Timestamp::MIN };

fn decode(frame: &str) -> Result<Decoded, DecodeError> {
    let mut decoded = Decoded::default();
    Session::default().decode(&hex(frame), &CONTEXT, &mut decoded).map(|()| decoded)
}

fn device(decoded: &Decoded) -> &str {
    decoded.device.as_ref().unwrap().as_str()
}

fn number(decoded: &Decoded) -> Option<(&str, u64)> {
    let number = decoded.number.as_ref()?;
    assert_eq!(number.modulus, Modulus::TwoTo16);
    Some((number.sender.as_str(), number.number))
}

/// Device, time, latitude, longitude in 1e-6, altitude, speed in 0.1 km/h, course of the only report.
fn row(report: &PositionReport) -> (String, i32, i32, f32, i32, Option<f32>) {
    let dkmh = (report.speed_mps.unwrap() * 36.0).round() as i32;
    let altitude = report.altitude.unwrap().metres;
    let position = report.position;
    (
        report.time.unwrap().to_string(),
        position.lat_e7() / 10,
        position.lon_e7() / 10,
        altitude,
        dkmh,
        report.course_deg,
    )
}

#[test]
fn location_of_2013() {
    let decoded = decode(
        "7E0200002611223344556622B8000000010000000200BA7F0E07E4F11C0028003C000018071510101001040000006402020037577E",
    )
    .unwrap();
    assert_eq!((decoded.kind, device(&decoded)), ("location", "jt808:112233445566"));
    let report = &decoded.reports[0];
    assert!(report.valid && report.flags.contains(Flags::EMERGENCY));
    assert_eq!(row(report), ("2018-07-15T02:10:10.000Z".into(), 12_222_222, 132_444_444, 40.0, 60, Some(0.0)));
    assert_eq!(decoded.signals[0].kind, SignalKind::Emergency { delayed: false });
}

#[test]
fn south_and_west_are_in_the_status() {
    let decoded =
        decode("7e020000220014012499170007000000000000400e012af16f02cbd2ba000000000000150101194257010400000077a97e")
            .unwrap();
    assert_eq!(device(&decoded), "jt808:1401249917");
    assert_eq!(row(&decoded.reports[0]), ("2015-01-01T11:42:57.000Z".into(), -19_591_535, -46_912_186, 0.0, 0, None));
}

#[test]
fn batch_keeps_the_place_of_each_item_and_says_which_has_no_fix() {
    let decoded = decode("7E0704005311223344556622B80002000026000000010000000200BA7F0E07E4F11C0028003C0000180715101010010400000064020200370026000000020000000100CB735507E6A32300290036007818071510103001040000006002020042D47E").unwrap();
    assert_eq!((decoded.kind, decoded.reports.len(), &decoded.report_places[..]), ("batch", 2, &[0, 1][..]));
    assert!(decoded.reports[0].valid && !decoded.reports[1].valid);
    assert_eq!(
        row(&decoded.reports[1]),
        ("2018-07-15T02:10:30.000Z".into(), 13_333_333, 132_555_555, 41.0, 54, Some(120.0))
    );
}

#[test]
fn registration_is_answered_with_a_code_or_with_no_such_terminal() {
    for (frame, version) in [
        (
            "7E0100002D000123456789000A002800323132333400736D616C6C6368693132330000000000000000004348493132330001D4C14131323334358A7E",
            "",
        ),
        (
            "7E010040540100000000000123456789000A002800323132333400000000000000736D616C6C6368693132330000000000000000000000000000000000000043484931323300000000000000000000000000000000000000000000000001D4C1413132333435B27E",
            "01",
        ),
    ] {
        let decoded = decode(frame).unwrap();
        assert_eq!((decoded.kind, device(&decoded)), ("register", "jt808:123456789"));
        let [Reply::Registration(asked)] = &decoded.replies[..] else { panic!("one registration") };
        let (known, unknown) = (&asked.granted(None), &asked.refused());
        let granted = print(&asked.granted(Some(b"C0DE")));
        assert!(granted.contains(&format!("000a00{}", print(b"C0DE"))), "{granted}");
        assert!(
            print(known).starts_with(&format!("7e8100{}{version}", if version.is_empty() { "000f" } else { "400f" })),
            "{}",
            print(known)
        );
        assert!(print(unknown).contains("000a04"), "{}", print(unknown));
    }
}

#[test]
fn an_escaped_checksum_is_read() {
    let decoded = decode("7E00020000040021679287002B7D027E").unwrap();
    assert_eq!((decoded.kind, device(&decoded)), ("heartbeat", "jt808:40021679287"));
}

#[test]
fn bit_14_with_an_old_header_is_read_as_the_old_header() {
    let decoded = decode("7E0102400C01003000068109024A3130303330303030363831857E").unwrap();
    assert_eq!((decoded.kind, device(&decoded)), ("authenticate", "jt808:10030000681"));
    let decoded = decode("7e0200406c010030000681090e00000000000c0003026c936f074c794c0004036300d7210625155739010400000000052801cc00210625155739054145bbc91e4145a2fa1141450000004145bbc8194145a1370a4145000000240200002a0200002b04000000003001153101125f0a89860418231870850620757e").unwrap();
    assert_eq!(
        row(&decoded.reports[0]),
        ("2021-06-25T07:57:39.000Z".into(), 40_670_063, 122_452_300, 4.0, 867, Some(215.0))
    );
}

#[test]
fn location_and_its_acknowledgement_with_escapes_in_the_header() {
    let decoded = decode("7e0200002e0138001380007d027d0100000001000c00030260f55c06f015bc00340265010f26112314253001040000303925040000000030011931011a787e").unwrap();
    assert_eq!(
        row(&decoded.reports[0]),
        ("2026-11-23T06:25:30.000Z".into(), 39_908_700, 116_397_500, 52.0, 613, Some(271.0))
    );
    // The vector's ack carries platform serial 0; only our own serial may differ.
    assert_eq!(decoded.replies, [Reply::Always(hex("7e8001000501380013800000007d027d010200002f7e"))]);
}

#[test]
fn location_of_2019_is_answered_with_its_header() {
    let decoded = decode("7e0200402e0100000000013800138000010200000001000c00030260f55c06f015bc00340265010f26112314253001040000303925040000000030011931011a397e").unwrap();
    assert_eq!(device(&decoded), "jt808:13800138000");
    assert_eq!(row(&decoded.reports[0]).0, "2026-11-23T06:25:30.000Z");
    let [Reply::Always(ack)] = &decoded.replies[..] else { panic!("one ack") };
    assert!(print(ack).starts_with("7e80014005010000000001380013800000000102020000"), "{}", print(ack));
}

#[test]
fn frames_are_numbered_by_their_serial_read_or_refused() {
    let heartbeat = |properties: u8, serial: u8| {
        let bytes = [0, 2, properties, 0, 0, 0, 0, 0, 0, 1, 0, serial];
        print(&[&bytes[..], &[xor(&bytes)]].concat())
    };
    assert_eq!(number(&decode(&heartbeat(0, 9)).unwrap()), Some(("jt808:1", 9)));
    assert_eq!(number(&decode(&heartbeat(0, 0)).unwrap()), Some(("jt808:1", 0)), "the first serial is 0");
    let mut decoded = Decoded::default();
    let encrypted = Session::default().decode(&hex(&heartbeat(0b100, 3)), &CONTEXT, &mut decoded);
    assert_eq!((encrypted, number(&decoded)), (Err(DecodeError::Encrypted), Some(("jt808:1", 3))));
    decoded.clear();
    let mut damaged = hex(&heartbeat(0, 4));
    damaged[11] ^= 1;
    assert!(Session::default().decode(&damaged, &CONTEXT, &mut decoded).is_err());
    assert_eq!(number(&decoded), None, "a damaged number is none");
}

#[test]
fn packets_are_joined_in_any_order() {
    // Two halves of a heartbeat-like 0x0801 body; the second comes first.
    let mut session = Session::default();
    let mut decoded = Decoded::default();
    for (frame, kind, serial) in [
        ("7e080120040138001380000011000200020708090a9a7e", "packet", 17),
        ("7e08012006013800138000001000020001010203040506917e", "other", 16),
    ] {
        decoded.clear();
        session.decode(&hex(frame), &CONTEXT, &mut decoded).unwrap();
        assert_eq!((decoded.kind, decoded.replies.len()), (kind, 1));
        assert_eq!(number(&decoded), Some(("jt808:13800138000", serial)), "each packet is a frame of its own");
    }
    assert!(session.parts.is_none());
}

#[test]
fn damaged_frames_are_refused_with_the_reason() {
    assert!(matches!(decode("7E02000032013511221122D07E"), Err(DecodeError::Checksum { .. })));
    assert!(matches!(decode("7E7E"), Err(DecodeError::Truncated { field: "checksum" })));
    // A right checksum over a heartbeat that claims five bytes of body and has one.
    let bytes = [0, 2, 0, 5, 1, 0x38, 0, 0x13, 0x80, 0, 0, 1, 9];
    let frame = [&bytes[..], &[xor(&bytes)]].concat();
    let error = decode(&print(&frame)).unwrap_err();
    assert_eq!(error, DecodeError::Length { field: "body length", declared: 5, found: 1 });
}

#[test]
fn latitude_91_is_out_of_range_and_the_button_still_rings() {
    let mut body = vec![0, 0, 0, 1, 0, 0, 0, 2];
    body.extend(91_000_000u32.to_be_bytes());
    body.extend(108_000_000u32.to_be_bytes());
    body.extend([0, 0, 0, 0, 0, 0, 0x26, 0x11, 0x23, 0x14, 0x25, 0x30]);
    let device = DeviceId::of("jt808", "1").unwrap();
    let mut decoded = Decoded::default();
    assert_eq!(read_body(LOCATION, &body, &device, &mut decoded), Ok(DONE), "acknowledged, or it comes again for ever");
    let [(0, error)] = &decoded.faults[..] else { panic!("one fault") };
    assert_eq!(error.to_string(), "`position` is 91000000e-6, 108000000e-6, out of range");
    assert_eq!(error.reason(), "position");
    assert_eq!(decoded.signals[0].kind, SignalKind::Emergency { delayed: false });
}

#[test]
fn a_binary_imei_gets_its_check_digit() {
    // 0x4EB6FB4AFD9E = 86547000000926 in decimal: an IMEI without its last digit.
    let id = device_of(&[0x4E, 0xB6, 0xFB, 0x4A, 0xFD, 0x9E]).unwrap();
    assert_eq!(id.as_str().len(), "jt808:".len() + 15);
    assert_eq!(luhn_digit("7992739871"), 3);
}

#[test]
fn no_date_is_no_time() {
    assert_eq!(bcd_time([0; 6]), None);
    assert_eq!(bcd_time([0x26, 0x13, 0x01, 0, 0, 0]), None);
    assert_eq!(bcd_time([0x2A, 0x01, 0x01, 0, 0, 0]), None);
}

/// The code that a 0x0102 shows, and its two answers.
fn shown(frame: &str) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let mut replies = decode(frame).unwrap().replies;
    match replies.pop() {
        Some(Reply::ByCode { shown, right, wrong }) => (shown, right, wrong),
        other => panic!("an answer by code, not {other:?}"),
    }
}

#[test]
fn a_code_is_all_of_the_body_or_since_2019_what_its_length_says() {
    let (code, right, wrong) = shown("7E0102400C01003000068109024A3130303330303030363831857E");
    assert_eq!(code, b"J10030000681");
    assert!(print(&right).contains("0902010200") && print(&wrong).contains("0902010201"), "{}", print(&right));
    let of_2019 = |body: &[u8]| {
        let header = [&[1, 2, 0x40, body.len() as u8, 1], &[0; 9][..], &[7, 0, 9]].concat();
        let bytes = [&header, body].concat();
        shown(&print(&[&bytes[..], &[xor(&bytes)]].concat())).0
    };
    let rest = [b'8'; 35];
    assert_eq!(of_2019(&[&[4], &b"C0DE"[..], &rest].concat()), b"C0DE");
    assert_eq!(of_2019(&[&[6], &b"C0DE\0\0"[..], &rest].concat()), b"C0DE", "filled up with zeros");
    assert_eq!(of_2019(b"C0DE"), b"C0DE", "0x43 is no length here");
    assert_eq!(of_2019(&[0; 36]), b"");
}
