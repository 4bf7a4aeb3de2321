use super::*;

fn received() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-23T12:00:00Z").unwrap()
}

fn decode(message: &str) -> Result<Decoded, DecodeError> {
    let mut decoded = Decoded::default();
    Session::default().decode(message.as_bytes(), &Context { received: received() }, &mut decoded).map(|()| decoded)
}

/// Device, time, latitude and longitude in 1e-7.
fn row(message: &str) -> (String, String, i32, i32) {
    let decoded = decode(message).unwrap();
    let report = &decoded.reports[0];
    let device = report.device.as_ref().unwrap().to_string();
    (device, report.time.unwrap().to_string(), report.position.lat_e7(), report.position.lon_e7())
}

#[test]
fn position_velocity() {
    let message = ">RPV15714+3739438-1220384601512612;ID=1234;*7F<";
    assert_eq!(row(message), ("taip:1234".into(), "2026-11-23T04:21:54.000Z".into(), 373_943_800, -1_220_384_600));
    let report = decode(message).unwrap().reports.remove(0);
    assert_eq!((report.speed_mps, report.course_deg, report.valid), (Some(15.0 * MPH_MPS), Some(126.0), true));
    assert_eq!(row(">RPV46640+4197412-0752857900015802;ID=5102;*71<").2, 419_741_200);
    assert_eq!(row(">RPV03874+3477708-0923453100029212;ID=0017;*71<").3, -923_453_100);
}

#[test]
fn event_with_its_week() {
    let (_, time, lat, lon) = row(">REV481599462982+2578391-0802945201228512;ID=Test");
    assert_eq!((time.as_str(), lat, lon), ("2010-09-02T17:29:42.000Z", 257_839_100, -802_945_200));
}

#[test]
fn long_navigation() {
    let message = ">RLN03874000+347770828-0923453071+000608270000+0000292309000000000000000000000000000000000000000000000012;ID=0017;*49<";
    let (_, time, lat, lon) = row(message);
    assert_eq!((time.as_str(), lat, lon), ("2026-11-23T01:04:34.000Z", 347_770_828, -923_453_071));
    let altitude = decode(message).unwrap().reports[0].altitude.unwrap();
    assert!((altitude.metres - 608.27 * FOOT_M).abs() < 0.01);
}

#[test]
fn dated_position_with_a_checksum_that_leaves_the_star_out_is_acknowledged() {
    let message = ">RGP230615010248-2682523-065236820000003007F4101;ID=0005;#0002;*2A<";
    assert_eq!(row(message), ("taip:0005".into(), "2015-06-23T01:02:48.000Z".into(), -268_252_300, -652_368_200));
    let summed = b">ACK;ID=0005;#0002;*";
    let expected = format!(">ACK;ID=0005;#0002;*{:02X}<", xor(summed)).into_bytes();
    assert_eq!(decode(message).unwrap().replies, [Reply::Always(expected)]);
}

#[test]
fn wrong_checksums_are_refused() {
    let error = decode(">RPV00000+3739438-1220384601512612;ID=1234;*7F").unwrap_err();
    assert_eq!(error, DecodeError::Checksum { found: 0x7F, computed: 0x79 });
    assert!(matches!(decode(">RCP46660+419741-075285802;ID=5102;*6C<"), Err(DecodeError::Checksum { .. })));
}

#[test]
fn no_data_is_no_fix_and_old_data_say_so() {
    let of = |end: &str| decode(&format!(">RPV15714+3739438-12203846015126{end};ID=1<")).unwrap().reports.remove(0);
    assert!(!of("10").valid && !of("92").valid);
    assert!(of("11").valid && of("11").flags.contains(Flags::OLD));
    assert!(of("62").flags.contains(Flags::ESTIMATED));
}

#[test]
fn bad_columns_are_named() {
    let refused = |message: &str| decode(message).unwrap_err().to_string();
    assert_eq!(
        refused(">RPV15714+9139438-1220384601512612;ID=1<"),
        "`position` is 9139438e-5, -12203846e-5, out of range"
    );
    assert_eq!(refused(">RPV99999+3739438-1220384601512612;ID=1<"), "`time` is 99999, out of range");
    assert_eq!(refused(">RPV1571"), "frame ends inside `time`");
    assert_eq!(refused(">RPV15714x3739438-1220384601512612"), "`latitude` cannot be read: \"x\"");
}
