use super::*;
use model::TimeBasis;

fn at(text: &str) -> Timestamp {
    Timestamp::from_rfc3339(text).unwrap()
}

fn decode_in(session: &mut Session, frame: &str, received: &str) -> Result<Decoded, DecodeError> {
    let mut decoded = Decoded::default();
    session.decode(frame.as_bytes(), &Context { received: at(received) }, &mut decoded).map(|()| decoded)
}

fn decode(frame: &str) -> Result<Decoded, DecodeError> {
    decode_in(&mut Session::default(), frame, "2026-11-23T04:22:00Z")
}

fn report(frame: &str) -> PositionReport {
    decode(frame).unwrap().reports.remove(0)
}

fn e7(report: &PositionReport) -> (i32, i32) {
    (report.position.lat_e7(), report.position.lon_e7())
}

fn device(decoded: &Decoded) -> Option<&str> {
    decoded.device.as_ref().map(DeviceId::as_str)
}

#[test]
fn pv_of_the_manual() {
    let decoded = decode(">RPV15714+3739438-1220384601512612;ID=1234;*7F<").unwrap();
    assert_eq!((decoded.kind, device(&decoded), decoded.signals.len()), ("pv", Some("taip:1234"), 1));
    assert!(decoded.replies.is_empty());
    let fix = &decoded.reports[0];
    assert_eq!((e7(fix), fix.time), ((373_943_800, -1_220_384_600), Some(at("2026-11-23T04:21:54Z"))));
    assert_eq!((fix.speed_mps, fix.course_deg), (Some(15.0 * 0.447_04), Some(126.0)));
    assert_eq!((fix.valid, fix.flags, fix.time_basis), (true, Flags::default(), TimeBasis::Gnss));
    let second = report(">RPV46640+4197412-0752857900015802;ID=5102;*71<");
    assert_eq!((e7(&second), second.course_deg), ((419_741_200, -752_857_900), None));
    assert_eq!(e7(&report(">RPV03874+3477708-0923453100029212;ID=0017;*71<")), (347_770_800, -923_453_100));
}

#[test]
fn pv_takes_the_day_nearest_to_the_receipt() {
    let of = |second, received| {
        let frame = format!(">RPV{second}+3739438-1220384601512612;ID=1234<");
        decode_in(&mut Session::default(), &frame, received).unwrap().reports[0].time
    };
    assert_eq!(of("86399", "2026-11-24T00:00:01Z"), Some(at("2026-11-23T23:59:59Z")));
    assert_eq!(of("00001", "2026-11-23T23:59:58Z"), Some(at("2026-11-24T00:00:01Z")));
}

#[test]
fn source_and_age_say_what_a_place_is_worth() {
    let of = |source_age| report(&format!(">RPV15714+3739438-12203846015126{source_age};ID=1234<"));
    for (source_age, valid, flags) in [
        ("12", true, Flags::default()),
        ("11", true, Flags::OLD),
        ("10", false, Flags::default()),
        ("92", false, Flags::default()),
        ("62", true, Flags::ESTIMATED),
        ("81", true, Flags::ESTIMATED.with(Flags::OLD)),
    ] {
        assert_eq!((of(source_age).valid, of(source_age).flags), (valid, flags), "{source_age}");
    }
}

#[test]
fn ev_is_dated_by_week_and_day() {
    let decoded = decode(">REV481599462982+2578391-0802945201228512;ID=Test").unwrap();
    assert_eq!((decoded.kind, device(&decoded)), ("ev", Some("taip:Test")));
    let fix = &decoded.reports[0];
    assert_eq!((e7(fix), fix.time), ((257_839_100, -802_945_200), Some(at("2010-09-02T17:29:42Z"))));
    assert_eq!((fix.speed_mps, fix.course_deg), (Some(12.0 * 0.447_04), Some(285.0)));
    let rolled_over = report(">REV480575462982+2578391-0802945201228512;ID=Test");
    assert_eq!(rolled_over.time, Some(at("2010-09-02T17:29:42Z")));
    assert_eq!(decode(">REV481599762982+2578391-0802945201228512<").unwrap_err().reason(), "out_of_range");
}

#[test]
fn ln_has_seven_decimals_and_feet() {
    let fix = report(
        ">RLN03874000+347770828-0923453071+000608270000+0000292309000000000000000000000000000000000000000000000012;ID=0017;*49<",
    );
    assert_eq!(e7(&fix), (347_770_828, -923_453_071));
    assert_eq!(fix.altitude, Some(Altitude { metres: 185.400_7, reference: AltitudeRef::Msl }));
    assert_eq!((fix.speed_mps, fix.course_deg, fix.time), (Some(0.0), None, Some(at("2026-11-23T01:04:34Z"))));
    let moving =
        report(">RLN03874500+347770828-0923453071+000608270125+00002923000000000000+10<".replace("+10", "32").as_str());
    assert_eq!((moving.speed_mps, moving.course_deg), (Some((12.5 * 0.447_04) as f32), Some(292.3)));
    assert_eq!(moving.time, Some(at("2026-11-23T01:04:34.500Z")));
}

#[test]
fn gp_is_dated_and_may_use_minutes() {
    let decoded = decode(">RGP230615010248-2682523-065236820000003007F4101;ID=0005;#0002;*2A<").unwrap();
    assert_eq!((decoded.kind, device(&decoded)), ("gp", Some("taip:0005")));
    let fix = &decoded.reports[0];
    assert_eq!((e7(fix), fix.time, fix.valid), ((-268_252_300, -652_368_200), Some(at("2015-06-23T01:02:48Z")), true));
    let minutes = report(">RGP200317010815-3852.9306-06204.88560000003000101;&01;ID=5555;#7AD7*51<");
    assert_eq!((e7(&minutes), minutes.time), ((-388_821_767, -620_814_267), Some(at("2017-03-20T01:08:15Z"))));
    let lost = report(">RGP211217112154-2748332-058946350000000FF7F2100;ID=AA01;#0002;*2D<");
    assert!(!lost.valid && lost.flags.contains(Flags::OLD), "an age of FF seconds and more");
}

#[test]
fn the_dated_family_is_found_by_its_signs() {
    for (frame, kind, place, time) in [
        (
            ">RCQ00151123235718-2782354-06407582055121FF0013501CDCC6313011100001514;#0805;ID=SIA056;*15<",
            "cq",
            (-278_235_400, -640_758_200),
            Some("2023-11-15T23:57:18Z"),
        ),
        (
            ">RCV12270218010247-3471349-058400030002057F001200020A1D013010600001509+0000FF+0000FF;#1DE2;ID=7196;*03<",
            "cv",
            (-347_134_900, -584_000_300),
            Some("2018-02-27T01:02:47Z"),
        ),
        (
            ">RBR00130217040848-3462200-05846708000175FF0022900003B3C13010800001118410+24061A;ID=555224;*07<",
            "br",
            (-346_220_000, -584_670_800),
            Some("2017-02-13T04:08:48Z"),
        ),
        (
            ">RUS00,111220124402-3138067-06417623000012200FF,000000000000000000000000000,0000000111,15640422,00000,+25.5,00000,51;ID=CST3G0443;#IP1:089F;*34<",
            "us",
            (-313_806_700, -641_762_300),
            Some("2020-12-11T12:44:02Z"),
        ),
        (
            ">RCQ09000000000000-3460365-058381460000007F0000000000000115000FFFF1099;#0000;ID=555224;*05<",
            "cq",
            (-346_036_500, -583_814_600),
            None,
        ),
    ] {
        let decoded = decode(frame).unwrap();
        let fix = &decoded.reports[0];
        assert_eq!((decoded.kind, e7(fix), fix.time), (kind, place, time.map(at)), "{frame}");
        assert_eq!(fix.valid, time.is_some(), "a clock that was never set: no fix");
        assert_eq!(decoded.replies.len(), usize::from(frame.contains('#')));
    }
    let moving = report(">RCQ00151123235718-2782354-06407582055121FF0013501CDCC6313011100001514;#0805;ID=SIA056;*15<");
    assert_eq!((moving.speed_mps, moving.course_deg), (Some((55.0 * 0.447_04) as f32), Some(121.0)));
    let no_place =
        decode(">RUV0000,NT003,190826125922,00111595,39K40156,0B36 F,203 V,V1.5,JMAK,0,0,0,;ID=FWHS;#0004;*03<")
            .unwrap();
    assert_eq!((no_place.kind, no_place.reports.len(), no_place.replies.len()), ("uv", 0, 1));
}

#[test]
fn numbered_messages_are_answered_in_their_own_order_and_sum() {
    let reply = |frame: &str| match &decode(frame).unwrap().replies[..] {
        [Reply::Always(bytes)] => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("one reply: {other:?}"),
    };
    // This unit sums without the star, the next one with it.
    let lantrix = reply(">RGP230615010248-2682523-065236820000003007F4101;ID=0005;#0002;*2A<");
    assert_eq!(lantrix, format!(">ACK;ID=0005;#0002;*{:02X}<", xor(b">ACK;ID=0005;#0002;")));
    let trimble = reply(">RCQ00151123235718-2782354-06407582055121FF0013501CDCC6313011100001514;#0805;ID=SIA056;*15<");
    assert_eq!(trimble, format!(">ACK;#0805;ID=SIA056;*{:02X}<", xor(b">ACK;#0805;ID=SIA056;*")));
    assert_eq!(reply(">RAL03874+00185+00012;ID=7;#IP1:089F<"), ">SAK;ID=7;#IP1:089F<");
    assert!(decode(">RAL03874;ID=7;#0123456789ABCDEF<").unwrap().replies.is_empty(), "too long to be a number");
    // A place that cannot be is answered all the same.
    let refused = decode(">RPV15714+9139438-1220384601512612;ID=1234;#0001<").unwrap();
    assert_eq!((refused.faults[0].1.reason(), refused.replies.len(), refused.reports.len()), ("position", 1, 0));
}

#[test]
fn the_name_holds_for_the_session() {
    let mut session = Session::default();
    let bare = ">RPV15714+3739438-1220384601512612<";
    let received = "2026-11-23T04:22:00Z";
    let before = decode_in(&mut session, bare, received).unwrap();
    assert_eq!((device(&before), before.reports.len(), before.signals.len()), (None, 1, 0));
    decode_in(&mut session, ">RAL03874+00185+00012;ID=0017;*4A<", received).unwrap();
    let after = decode_in(&mut session, bare, received).unwrap();
    assert_eq!((device(&after), after.signals.len()), (Some("taip:0017"), 1));
}

#[test]
fn damaged_messages_are_refused_with_the_reason() {
    let error = decode(">RPV00000+3739438-1220384601512612;ID=1234;*7F").unwrap_err();
    assert_eq!(error, DecodeError::Checksum { found: 0x7F, computed: 0x79 });
    for (frame, reason) in [
        (">RPV15714+3739438-12203846015126;ID=1234<", "truncated"),
        (">RPV15714+9039438-1220384601512612;ID=1234<", "position"),
        (">RPV15714+3739438-1820384601512612;ID=1234<", "position"),
        (">RPV99999+3739438-1220384601512612;ID=1234<", "out_of_range"),
        (">RPV1571443739438-1220384601512612;ID=1234<", "malformed"),
        (">RPV15714+37394-8-1220384601512612;ID=1234<", "malformed"),
        (">RPV15714+3739438-1220384601512612;ID=1234;*7<", "truncated"),
        (">RPV15714+3739438-1220384601512612;ID=1234;*+F<", "malformed"),
        (">RPV15714+3739438-1220384601512612;ID=a/b<", "malformed"),
        (">RGP320615010248-2682523-065236820000003GG7F4101<", "malformed"),
        (">RGP230615250248-2682523-065236820000003007F4101<", "out_of_range"),
        ("RPV15714+3739438-1220384601512612<", "malformed"),
        (">RP<", "truncated"),
        (">é<", "malformed"),
    ] {
        assert_eq!(decode(frame).unwrap_err().reason(), reason, "{frame}");
    }
}
