//! `prost` is the contract: whatever the bytes, the reader in place says what `prost` says.

use proptest::prelude::*;

use super::*;

const CONTEXT: Context = Context { received: Timestamp::MIN };

/// A number as a varint with so many bytes more than it needs, as far as ten.
fn varint(mut value: u64, longer: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    for _ in 0..longer.min(10 - bytes.len()) {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push(0);
    }
    bytes
}

fn long(field: u64, content: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2, 0), varint(content.len() as u64, 0), content.to_vec()].concat()
}

/// How one list is written.
#[derive(Debug, Clone, Copy)]
enum Way {
    Absent,
    Packed,
    Longer,
    Single,
    TwoPieces,
    WrongType,
}

fn any_way() -> impl Strategy<Value = Way> {
    prop_oneof![
        4 => Just(Way::Absent),
        20 => Just(Way::Packed),
        3 => Just(Way::Longer),
        1 => Just(Way::Single),
        1 => Just(Way::TwoPieces),
        1 => Just(Way::WrongType),
    ]
}

fn list(field: u64, values: &[u64], way: Way) -> Vec<u8> {
    let packed = |values: &[u64], longer| values.iter().flat_map(|value| varint(*value, longer)).collect::<Vec<_>>();
    match way {
        Way::Absent => Vec::new(),
        Way::Packed => long(field, &packed(values, 0)),
        Way::Longer => long(field, &packed(values, 3)),
        Way::Single => values.iter().flat_map(|value| [varint(field << 3, 0), varint(*value, 0)].concat()).collect(),
        Way::TwoPieces => {
            let (front, back) = values.split_at(values.len() / 2);
            [long(field, &packed(front, 0)), long(field, &packed(back, 0))].concat()
        }
        Way::WrongType => [varint(field << 3 | 5, 0), vec![0; 4]].concat(),
    }
}

fn any_value() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0u64..4, 2 => 0u64..70_000, 1 => 0u64..1 << 33, 1 => any::<u64>()]
}

/// A list of the usual length, or of another; `device_index` and the places are seldom left out.
fn any_list(field: u64, count: usize) -> impl Strategy<Value = Vec<u8>> {
    let way = if [3, 5, 6].contains(&field) { Just(Way::Packed).boxed() } else { any_way().boxed() };
    let way = prop_oneof![8 => way, 1 => any_way().boxed()];
    let length = prop_oneof![30 => Just(count), 1 => 0usize..6];
    let values = length.prop_flat_map(|length| prop::collection::vec(any_value(), length));
    (values, way).prop_map(move |(values, way)| list(field, &values, way))
}

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[a-c]".prop_map(String::into_bytes),
        2 => "[a-c]:[a-c]".prop_map(String::into_bytes),
        1 => Just(b"no name".to_vec()),
        1 => Just(Vec::new()),
        1 => Just(vec![0xFF]),
    ]
}

fn any_batch() -> impl Strategy<Value = Vec<u8>> {
    let lists = (0usize..5).prop_flat_map(|count| (3u64..11).map(|field| any_list(field, count)).collect::<Vec<_>>());
    let names = prop::collection::vec(any_text().prop_map(|name| long(2, &name)), 0..3);
    let sequence = any_value().prop_map(|value| [varint(1 << 3, 0), varint(value, 0)].concat());
    let unknown = prop_oneof![20 => Just(Vec::new()), 1 => Just(long(15, b"later")), 1 => Just(vec![0x7B, 0x7C])];
    let pieces = (names, lists, prop::collection::vec(sequence, 0..3), unknown, any::<bool>());
    pieces.prop_map(|(names, mut lists, sequences, unknown, is_reversed)| {
        if is_reversed {
            lists.reverse();
        }
        [names.concat(), lists.concat(), sequences.concat(), unknown].concat()
    })
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let gateway = prop::collection::vec(any_text().prop_map(|name| long(1, &name)), 0..2);
    let other = prop_oneof![20 => Just(Vec::new()), 1 => Just(long(7, &[])), 1 => Just(long(2, &[])), 1 => any_batch().prop_map(|it| long(3, &it))];
    let damage = prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()));
    (gateway, any_batch(), other, damage).prop_map(|(gateway, batch, other, damage)| {
        let mut frame = [gateway.concat(), long(3, &batch), other].concat();
        if let Some((at, byte)) = damage {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        frame
    })
}

/// What a session says of a frame by way of `prost`.
fn by_prost(session: &mut Session, frame: &[u8], decoded: &mut Decoded) -> Result<(), DecodeError> {
    session.unpacked(frame, &CONTEXT, decoded)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// The same reports, faults, signals and replies, and the same memory of them.
    #[test]
    fn what_is_read_in_place_is_what_prost_reads(frames in prop::collection::vec(any_frame(), 1..4)) {
        let (mut ours, mut theirs) = (Session::default(), Session::default());
        for frame in frames {
            let (mut our, mut their) = (Decoded::default(), Decoded::default());
            let results = (ours.decode(&frame, &CONTEXT, &mut our), by_prost(&mut theirs, &frame, &mut their));
            prop_assert_eq!(&results.0, &results.1);
            prop_assert_eq!(format!("{our:?}"), format!("{their:?}"));
            prop_assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        }
    }
}

fn batch(reports: usize) -> proto::ColumnarBatch {
    proto::ColumnarBatch {
        batch_sequence: 1,
        new_devices: vec!["cot:a".into()],
        device_index: vec![0; reports],
        time_ms_delta: vec![1_700_000_000_000; 1].into_iter().chain(vec![-1; reports - 1]).collect(),
        lat_e7_delta: vec![-1_000; reports],
        lon_e7_delta: vec![90_000; reports],
        speed_cmps: vec![65_535; reports],
        ..proto::ColumnarBatch::default()
    }
}

fn frame(batch: proto::ColumnarBatch) -> Vec<u8> {
    proto::GatewayUp { gateway: "g".into(), payload: Some(gateway_up::Payload::Columns(batch)) }.encode_to_vec()
}

#[test]
fn what_encoders_write_is_read_in_place() {
    let (mut session, mut decoded) = (Session::default(), Decoded::default());
    assert_eq!(session.packed(&frame(batch(BATCH_REPORTS_MAX)), &mut decoded), Some(()));
    assert_eq!((decoded.reports.len(), decoded.numbered.len()), (BATCH_REPORTS_MAX, BATCH_REPORTS_MAX));
}

#[test]
fn what_cannot_be_read_in_place_leaves_nothing_behind() {
    let short = proto::ColumnarBatch { lon_e7_delta: vec![1, 2], ..batch(3) };
    let lone =
        proto::ColumnarBatch { speed_cmps: vec![], time_ms_delta: vec![], lat_e7_delta: vec![1, 2], ..short.clone() };
    for bad in [short, lone, batch(BATCH_REPORTS_MAX + 1)] {
        let (mut session, mut decoded) = (Session::default(), Decoded::default());
        assert_eq!(session.packed(&frame(bad.clone()), &mut decoded), None);
        assert_eq!(format!("{session:?}{decoded:?}"), format!("{:?}{:?}", Session::default(), Decoded::default()));
        assert!(session.decode(&frame(bad), &CONTEXT, &mut decoded).is_err());
    }
}
