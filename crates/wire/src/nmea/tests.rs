use super::*;
use model::TimeBasis;

fn at(text: &str) -> Timestamp {
    Timestamp::from_rfc3339(text).unwrap()
}

/// Decodes `line` as the next of `session`, received at noon of 2026-11-23.
fn next(session: &mut Session, line: &str) -> Result<Decoded, DecodeError> {
    next_at(session, line, "2026-11-23T12:00:00Z")
}

fn next_at(session: &mut Session, line: &str, received: &str) -> Result<Decoded, DecodeError> {
    let mut decoded = Decoded::default();
    session.decode(line.as_bytes(), &Context { received: at(received) }, &mut decoded).map(|()| decoded)
}

fn decode(line: &str) -> Result<Decoded, DecodeError> {
    next(&mut Session::default(), line)
}

fn report(line: &str) -> PositionReport {
    decode(line).unwrap().reports.remove(0)
}

/// `content` with `$` and the right checksum.
fn summed(content: &str) -> String {
    format!("${content}*{:02X}", xor(content.as_bytes()))
}

fn e7(report: &PositionReport) -> (i32, i32) {
    (report.position.lat_e7(), report.position.lon_e7())
}

fn device(decoded: &Decoded) -> Option<&str> {
    decoded.device.as_ref().map(DeviceId::as_str)
}

#[test]
fn rmc_says_where_when_and_how_fast() {
    let standing = report("$GPRMC,064411.000,A,3717.240078,N,00603.046984,W,0.000,1,010313,,,A*6C");
    assert_eq!(e7(&standing), (372_873_346, -60_507_831));
    assert_eq!(standing.time, Some(at("2013-03-01T06:44:11Z")));
    assert_eq!((standing.speed_mps, standing.course_deg, standing.valid), (Some(0.0), None, true));
    assert_eq!(standing.time_basis, TimeBasis::Gnss);

    let moving = report("$GPRMC,125735.000,A,6010.34349,N,02445.72838,E,1.0,101.7,050509,6.9,W,A*1F");
    assert_eq!(e7(&moving), (601_723_915, 247_621_397));
    assert_eq!(moving.time, Some(at("2009-05-05T12:57:35Z")));
    assert_eq!((moving.speed_mps, moving.course_deg), (Some(1852.0 / 3600.0), Some(101.7)));

    let newest = report("$GNRMC,164414.90,A,4650.5156500,N,01246.1059604,E,0.018,,091123,,,A,V*15");
    assert_eq!((e7(&newest), newest.valid, newest.course_deg), ((468_419_275, 127_684_327), true, None));
    assert_eq!(newest.time, Some(at("2023-11-09T16:44:14.900Z")));
}

#[test]
fn rmc_v_has_no_fix() {
    let stale = report("$GPRMC,192350.000,V,0000.0000,N,00000.0000,E,,,110318,,*12");
    assert_eq!((stale.valid, stale.time_basis), (false, TimeBasis::Device));
    assert!(!stale.flags.contains(Flags::NULL_PLACE), "it never claimed to be valid");
    assert!(decode(&summed("GPRMC,,V,,,,,,,,,,N")).unwrap().reports.is_empty());
    let null = report(&summed("GPRMC,064411,A,0000.00,N,00000.00,E,1.0,1,010313,,"));
    assert!(!null.valid && null.flags.contains(Flags::NULL_PLACE));
}

#[test]
fn the_mode_tells_a_fix_from_an_estimate() {
    let of_mode = |mode| report(&summed(&format!("GPRMC,064411,A,3717.24,N,00603.04,W,0.0,1,010313,,,{mode}")));
    assert!(of_mode("E").valid && of_mode("E").flags.contains(Flags::ESTIMATED));
    assert!(!of_mode("N").valid);
    assert_eq!(of_mode("D").flags, Flags::default());
}

#[test]
fn gga_adds_the_altitude_and_has_no_accuracy() {
    let fix = report("$GNGGA,164414.90,4650.5156500,N,01246.1059604,E,1,12,0.84,740.729,M,44.804,M,,*4E");
    assert_eq!(e7(&fix), (468_419_275, 127_684_327));
    assert_eq!(fix.altitude, Some(Altitude { metres: 740.729, reference: AltitudeRef::Msl }));
    assert_eq!((fix.accuracy_m, fix.speed_mps), (None, None));
    let below = report("$GPGGA,082350.000,5355.0314,N,01044.1271,E,1,10,0.7,-46.0,M,0.0,M,0.0,0000");
    assert_eq!(below.altitude.unwrap().metres, -46.0);
    assert!(!report(&summed("GPGGA,082350,5355.0314,N,01044.1271,E,0,00,,,M,,M,,")).valid);
    let reckoned = report(&summed("GPGGA,082350,5355.0314,N,01044.1271,E,6,00,,,M,,M,,"));
    assert!(reckoned.valid && reckoned.flags.contains(Flags::ESTIMATED));
}

#[test]
fn gll_and_vtg() {
    let fix = report(&summed("GPGLL,4916.45,S,12311.12,W,225444,A,D"));
    assert_eq!(e7(&fix), (-492_741_667, -1_231_853_333));
    assert_eq!(fix.time, Some(at("2026-11-23T22:54:44Z")), "the day nearest to the receipt");
    let decoded = decode("$GPVTG,054.7,T,034.4,M,005.5,N,010.2,K*48").unwrap();
    assert_eq!((decoded.kind, decoded.reports.len()), ("vtg", 0));
}

#[test]
fn what_has_no_date_takes_it_from_the_last_rmc_across_midnight() {
    let mut session = Session::default();
    let gga = |time: &str| summed(&format!("GPGGA,{time},4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"));
    let of = |session: &mut Session, line: &str, received| next_at(session, line, received).unwrap().reports[0].time;
    let received = "2026-11-23T12:00:00Z";
    of(&mut session, &summed("GPRMC,235959,A,4807.038,N,01131.000,E,0,,311225,,"), received);
    assert_eq!(of(&mut session, &gga("000001"), received), Some(at("2026-01-01T00:00:01Z")));
    assert_eq!(of(&mut session, &gga("235958"), received), Some(at("2025-12-31T23:59:58Z")));
    // Two days without an RMC: the clock went on.
    assert_eq!(of(&mut session, &gga("000001"), "2026-11-25T12:00:00Z"), Some(at("2026-01-03T00:00:01Z")));
    // A receiver without a fix may be wrong by years.
    of(&mut session, &summed("GPRMC,235959,V,4807.038,N,01131.000,E,0,,060115,,"), received);
    assert_eq!(of(&mut session, &gga("000001"), received), Some(at("2026-01-01T00:00:01Z")));
}

#[test]
fn a_week_counter_that_rolled_over_is_put_right() {
    let fix = report(&summed("GPRMC,074446,A,5006.37,N,01429.23,E,0,,081102,,"));
    assert_eq!(fix.time, Some(at("2022-06-24T07:44:46Z")));
    let no_date = report(&summed("GPRMC,074446,A,5006.37,N,01429.23,E,0,,000000,,"));
    assert_eq!((no_date.time, no_date.time_basis), (None, TimeBasis::Receipt));
    assert!(no_date.flags.contains(Flags::TIME_MISSING));
}

#[test]
fn identities_in_one_line() {
    const RMC: &str = "GPRMC,012006,A,4828.10,N,1353.52,E,0.00,0.00,180915,020.3,E*42";
    for (line, id) in [
        (format!("123456789${RMC}"), Some("nmea:123456789")),
        (format!("990000561287964,${RMC}"), Some("nmea:990000561287964")),
        (format!("660420156A0066AA${RMC}"), Some("nmea:660420156A0066AA")),
        (format!("4711/022789000688081/${RMC}"), Some("nmea:022789000688081")),
        (format!("${RMC},11,865733027593268,1,090,086"), Some("nmea:865733027593268")),
        (format!("12:34:56 ${RMC}"), None),
        (format!("${RMC},11,86573302759326"), None),
        (format!("123456789$GPGSA,A,3*${RMC}"), None),
    ] {
        let decoded = decode(&line).unwrap();
        assert_eq!((device(&decoded), decoded.reports.len()), (id, 1), "{line}");
        assert_eq!(decoded.signals.len(), usize::from(id.is_some()));
        assert_eq!(e7(&decoded.reports[0]), (484_683_333, 138_920_000));
    }
    let mut noisy = vec![0xFF, b'1', b'2', b'3', b'4', b'5', b'6', b'7'];
    noisy.extend(format!("${RMC}").bytes());
    let mut decoded = Decoded::default();
    Session::default().decode(&noisy, &Context { received: Timestamp::MIN }, &mut decoded).unwrap();
    assert_eq!((device(&decoded), decoded.reports.len()), (None, 1));
}

#[test]
fn identities_in_a_line_of_their_own_hold_for_the_session() {
    for (line, id) in [
        ("$PGID,359853000144328*0F", "nmea:359853000144328"),
        ("$DEVID,0x0103846677F21422*41", "nmea:0x0103846677F21422"),
        ("$IMEI=355797031609284", "nmea:355797031609284"),
        ("IMEI 351467108700000", "nmea:351467108700000"),
        ("$PCPTI,CradlePoint Test,184453,184453.0,6F*57", "nmea:CradlePoint_Test"),
        ("$PSIWMDID,6Q5161694402B133*2F", "nmea:6Q5161694402B133"),
        ("358244017671308", "nmea:358244017671308"),
        ("086415031C20", "nmea:086415031C20"),
    ] {
        let mut session = Session::default();
        let decoded = next(&mut session, line).unwrap();
        assert_eq!((decoded.kind, device(&decoded), decoded.signals.len()), ("identity", Some(id), 1));
        let decoded = next(&mut session, "$GPGSA,A,3").unwrap();
        assert_eq!((decoded.kind, device(&decoded), decoded.signals.len()), ("other", Some(id), 1));
    }
    for line in ["$PGID,", "$IMEI=a/b", "IMEI", "hello", "deadbeef", "4711", ""] {
        assert_eq!(decode(line).unwrap_err().reason(), "malformed", "{line}");
    }
}

#[test]
fn gpfid_signs_the_place_before_it_once() {
    let mut session = Session::default();
    let rmc = "$GPRMC,012006,A,4828.10,N,1353.52,E,0.00,0.00,180915,020.3,E*42";
    let before = next(&mut session, rmc).unwrap();
    assert_eq!((device(&before), before.signals.len()), (None, 0));
    let signed = next(&mut session, "$GPFID,ID123456ABC").unwrap();
    assert_eq!(device(&signed), Some("nmea:ID123456ABC"));
    assert_eq!(signed.reports, before.reports);
    assert!(next(&mut session, "$GPFID,ID123456ABC").unwrap().reports.is_empty());
    assert_eq!(next(&mut session, rmc).unwrap().device, signed.device);
    assert!(next(&mut session, "$GPFID,ID123456ABC").unwrap().reports.is_empty(), "it was signed already");
}

#[test]
fn sentences_of_makers() {
    let line = summed(
        "PUBX,00,130209.00,3650.51159,N,01346.10602,E,785.947,D3,4.1,5.2,36,87.43,-0.054,7.0,0.88,1.21,0.88,24,0,0",
    );
    let fix = report(&line);
    assert_eq!((e7(&fix), fix.valid, fix.accuracy_m), ((368_418_598, 137_684_337), true, None));
    assert_eq!((fix.speed_mps, fix.course_deg), (Some(10.0), Some(87.43)));
    assert_eq!(fix.altitude.unwrap().reference, AltitudeRef::Ellipsoid);
    assert!(!report(&summed("PUBX,00,130209,3650.5,N,01346.1,E,785.9,NF,4,5,0,0")).valid);

    let fix = report("$TRCCR,20140111000000.000,A,60.000000,60.000000,0.00,0.00,0.00,50,*3a");
    assert_eq!((e7(&fix), fix.time), ((600_000_000, 600_000_000), Some(at("2014-01-11T00:00:00Z"))));
    let stale = report(&summed("TRCCR,20140101001122.333,V,60.0,-100.0,1.1,2.2,3.3,4.4,"));
    assert_eq!((e7(&stale), stale.valid), ((600_000_000, -1_000_000_000), false));

    let decoded = decode("QZE,868994033976700,35,28062020,113553,22.13673,114.57263,0,22,A,0").unwrap();
    assert_eq!((decoded.kind, device(&decoded)), ("qze", Some("nmea:868994033976700")));
    assert_eq!(
        (e7(&decoded.reports[0]), decoded.reports[0].time),
        ((221_367_300, 1_145_726_300), Some(at("2020-06-28T11:35:53Z")))
    );

    let decoded = decode("$ID,350030950116536,4,WMCS-34,0,IOP,O,0x01,I,0x00,GPSEX,A,D,050713,T,095121,S,9:5,La,51.89573,N,Lo,5.89860,W,DD,0").unwrap();
    assert_eq!((decoded.kind, device(&decoded)), ("wmcs", Some("nmea:350030950116536")));
    assert_eq!(
        (e7(&decoded.reports[0]), decoded.reports[0].time),
        ((518_957_300, -58_986_000), Some(at("2013-07-05T09:51:21Z")))
    );

    let garmin = decode(&summed("PGRMC,A,1,2")).unwrap();
    assert_eq!((garmin.kind, garmin.reports.len()), ("other", 0));
}

#[test]
fn rma_has_no_time() {
    let fix = report(&summed("GPRMA,A,4807.038,N,01131.000,W,,,2.0,90.0,11.,E"));
    assert_eq!((fix.time, fix.valid, fix.course_deg), (None, true, Some(90.0)));
    assert!(fix.flags.contains(Flags::TIME_MISSING));
}

#[test]
fn a_wrong_checksum_is_refused_and_a_missing_one_is_not() {
    let error = decode("$GPGGA,000000,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47").unwrap_err();
    assert_eq!(error, DecodeError::Checksum { found: 0x47, computed: 0x4A });
    let blanks = "990000561287964,$GPRMC,213516.0,A,4337.216791,N,11611.995877,W,0.0,335.4,181214,,,A * 72";
    assert_eq!(e7(&report(blanks)), (436_202_799, -1_161_999_313));
    assert_eq!(report("$GPRMC,012006,A,4828.10,N,1353.52,E,0.00,0.00,180915,020.3,E").course_deg, None);
    assert_eq!(decode("$GPRMA,V,0000.00,S,00000.00,E,,,00.0,000.,11.,E*7").unwrap_err().reason(), "truncated");
    assert_eq!(decode("$GPGSA,A*+5").unwrap_err().reason(), "malformed");
}

#[test]
fn damaged_sentences_are_refused_with_the_reason() {
    for (content, reason) in [
        ("GPRMC,012006,A,4828.10,N,1353.52,E", "truncated"),
        ("GPRMC,012006,A,4828.10,N,1353.52,E,0.00,0.00,18091", "malformed"),
        ("GPRMC,250000,A,4828.10,N,1353.52,E,0.00,0.00,180915,,", "out_of_range"),
        ("GPRMC,012006,X,4828.10,N,1353.52,E,0.00,0.00,180915,,", "malformed"),
        ("GPRMC,012006,A,9028.10,N,1353.52,E,0.00,0.00,180915,,", "position"),
        ("GPRMC,012006,A,4828.10,N,18000.01,E,0.00,0.00,180915,,", "position"),
        ("GPRMC,012006,A,4860.10,N,1353.52,E,0.00,0.00,180915,,", "position"),
        ("GPRMC,012006,A,4828.10,E,1353.52,N,0.00,0.00,180915,,", "malformed"),
        ("GPRMC,012006,A,4828.10,N,,E,0.00,0.00,180915,,", "malformed"),
        ("GPRMC,012006,A,4828.10,N,1353.52,E,NaN,0.00,180915,,", "malformed"),
        ("GPRMC,012006,A,4828.10,N,1353.52,E,99999,0.00,180915,,", "out_of_range"),
        ("GPGGA,012006,4828.10,N,1353.52,E,1,08", "truncated"),
        ("GPGGA,012006,4828.10,N,1353.52,E,1,08,1,999999,M", "out_of_range"),
        ("gprmc,012006", "malformed"),
        ("", "malformed"),
    ] {
        assert_eq!(decode(&format!("${content}")).unwrap_err().reason(), reason, "{content}");
        assert_eq!(decode(&summed(content)).unwrap_err().reason(), reason, "{content}");
    }
    let mut decoded = Decoded::default();
    let error =
        Session::default().decode(&[0xFF; 80], &Context { received: Timestamp::MIN }, &mut decoded).unwrap_err();
    assert_eq!(error.reason(), "malformed");
}
