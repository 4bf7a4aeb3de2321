use super::*;

fn received() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-23T12:00:00Z").unwrap()
}

fn decode(session: &mut Session, line: &str) -> Result<Decoded, DecodeError> {
    let mut decoded = Decoded::default();
    session.decode(line.as_bytes(), &Context { received: received() }, &mut decoded).map(|()| decoded)
}

fn one(line: &str) -> PositionReport {
    decode(&mut Session::default(), line).unwrap().reports.remove(0)
}

fn row(report: &PositionReport) -> (String, i32, i32) {
    (report.time.unwrap().to_string(), report.position.lat_e7(), report.position.lon_e7())
}

#[test]
fn rmc_vectors() {
    let report = one("$GPRMC,064411.000,A,3717.240078,N,00603.046984,W,0.000,1,010313,,,A*6C");
    assert_eq!(row(&report), ("2013-03-01T06:44:11.000Z".into(), 372_873_346, -60_507_831));
    assert_eq!((report.valid, report.speed_mps, report.course_deg), (true, Some(0.0), None));
    let report = one("$GPRMC,125735.000,A,6010.34349,N,02445.72838,E,1.0,101.7,050509,6.9,W,A*1F");
    assert_eq!(row(&report), ("2009-05-05T12:57:35.000Z".into(), 601_723_915, 247_621_397));
    assert_eq!((report.speed_mps, report.course_deg), (Some(KNOT_MPS), Some(101.7)));
    let report = one("$GNRMC,164414.90,A,4650.5156500,N,01246.1059604,E,0.018,,091123,,,A,V*15");
    assert_eq!(row(&report), ("2023-11-09T16:44:14.900Z".into(), 468_419_275, 127_684_327));
    assert_eq!(report.course_deg, None);
}

#[test]
fn gga_is_dated_by_the_last_rmc_across_midnight() {
    let mut session = Session::default();
    decode(&mut session, "$GPRMC,235959.500,A,4650.5156500,N,01246.1059604,E,0.018,,091123,,,A").unwrap();
    let decoded =
        decode(&mut session, "$GNGGA,000000.10,4650.5156500,N,01246.1059604,E,1,12,0.84,740.729,M,44.804,M,,").unwrap();
    assert_eq!(decoded.reports[0].time.unwrap().to_string(), "2023-11-10T00:00:00.100Z");
    assert_eq!(decoded.reports[0].altitude.unwrap().metres, 740.729);
    let alone = one("$GNGGA,164414.90,4650.5156500,N,01246.1059604,E,1,12,0.84,740.729,M,44.804,M,,*4E");
    assert_eq!(alone.time.unwrap().to_string(), "2026-11-23T16:44:14.900Z");
    assert_eq!((alone.accuracy_m, alone.time_basis), (None, TimeBasis::Gnss));
}

#[test]
fn without_a_fix_there_is_no_place_to_trust() {
    let report = one("$GPRMC,192350.000,V,0000.0000,N,00000.0000,E,,,110318,,*12");
    assert!(!report.valid);
    assert!(decode(&mut Session::default(), "$GPRMC,,V,,,,,,,,,,N").unwrap().reports.is_empty());
}

#[test]
fn a_wrong_checksum_is_refused() {
    let error = decode(&mut Session::default(), "$GPGGA,000000,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47");
    assert_eq!(error.unwrap_err(), DecodeError::Checksum { found: 0x47, computed: 0x4A });
}

#[test]
fn every_way_of_saying_who_it_is() {
    let rmc = "$GPRMC,064411.000,A,3717.240078,N,00603.046984,W,0.000,1,010313,,,A*6C";
    let of = |line: &str| decode(&mut Session::default(), line).unwrap().device.unwrap().to_string();
    assert_eq!(of(&format!("123456789{rmc}")), "nmea:123456789");
    assert_eq!(of(&format!("990000561287964,{rmc}")), "nmea:990000561287964");
    assert_eq!(of(&format!("4711/022789000688081/{rmc}")), "nmea:022789000688081");
    assert_eq!(of(&format!("{rmc},11,865733027593268,1,090,086")), "nmea:865733027593268");
    assert_eq!(of("$PGID,359853000144328*0F"), "nmea:359853000144328");
    assert_eq!(of("$DEVID,0x0103846677F21422*41"), "nmea:0103846677F21422");
    assert_eq!(of("$IMEI=355797031609284"), "nmea:355797031609284");
    assert_eq!(of("IMEI 351467108700000"), "nmea:351467108700000");
    assert_eq!(of("358244017671308"), "nmea:358244017671308");
    let mut session = Session::default();
    decode(&mut session, "$PGID,359853000144328*0F").unwrap();
    let report = decode(&mut session, rmc).unwrap().reports.remove(0);
    assert_eq!(report.device.unwrap().as_str(), "nmea:359853000144328");
}

#[test]
fn an_identity_after_the_place_claims_it() {
    let mut session = Session::default();
    let nameless = decode(&mut session, "$GPRMC,012006,A,4828.10,N,1353.52,E,0.00,0.00,180915,020.3,E*42").unwrap();
    assert_eq!(nameless.reports[0].device, None);
    let claimed = decode(&mut session, "$GPFID,ID123456ABC").unwrap();
    assert_eq!(claimed.reports[0].device.as_ref().unwrap().as_str(), "nmea:123456ABC");
    assert_eq!(claimed.reports[0].position, nameless.reports[0].position);
}

#[test]
fn bad_fields_are_named() {
    let refused = |line: &str| decode(&mut Session::default(), line).unwrap_err().to_string();
    assert_eq!(
        refused("$GPRMC,064411,A,9117.24,N,00603.04,W,,,010313"),
        "`position` is 912873333e-7, -60506667e-7, out of range"
    );
    assert_eq!(refused("$GPRMC,064411,A,3760.24,N,00603.04,W,,,010313"), "`latitude` is 3760.24, out of range");
    assert_eq!(refused("$GPRMC,064411,A,3717.24,X,00603.04,W,,,010313"), "`hemisphere` cannot be read: \"X\"");
    assert_eq!(refused("$GPRMC,064411,A,3717.24,N,00603.04,W,NaN,,010313"), "`speed` cannot be read: \"NaN\"");
    assert_eq!(refused("$GPRMC,064411,A,3717.24,N,00603.04,W,,,310213"), "`date` is 310213, out of range");
    assert_eq!(refused("hello"), "`line` cannot be read: \"hello\"");
}

#[test]
fn a_week_counter_that_turned_is_set_right() {
    let report = one("$GPRMC,064411,A,3717.24,N,00603.04,W,,,100407");
    assert_eq!(report.time.unwrap().to_string(), "2026-11-24T06:44:11.000Z");
}
