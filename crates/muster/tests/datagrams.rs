//! Devices and gateways over UDP with holes in their numbers, against the built program.

mod common;

use std::net::UdpSocket;

use common::Served;

/// A 0x0002 heartbeat of phone 000000000042.
fn heartbeat(serial: u16) -> Vec<u8> {
    let [high, low] = serial.to_be_bytes();
    let bytes = [0, 2, 0, 0, 0, 0, 0, 0, 0, 0x42, high, low];
    let sum = bytes.iter().fold(0, |sum, byte| sum ^ byte);
    assert!(!bytes.contains(&0x7D) && !matches!(sum, 0x7D | 0x7E), "serial {serial} would need an escape");
    [&[0x7E], &bytes[..], &[sum, 0x7E]].concat()
}

/// An empty report batch of the gateway `gateway`, as the bytes of a `GatewayUp`; an empty name is left out.
fn batch(gateway: &str, sequence: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !gateway.is_empty() {
        bytes.extend([0x0A, gateway.len() as u8]);
        bytes.extend(gateway.bytes());
    }
    bytes.extend([0x12, 2, 0x08, sequence]);
    bytes
}

fn total(of: &str, protocol: &str) -> String {
    format!("muster_datagrams_{of}_total{{protocol=\"{protocol}\"}}")
}

#[test]
fn what_datagrams_never_came_is_counted_and_shown() {
    let served = Served::with(&["--listen", "jt808=udp://127.0.0.1:0", "--listen", "muster=udp://127.0.0.1:0"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let send = |protocol: &str, bytes: &[u8]| {
        socket.send_to(bytes, served.listen[protocol]).unwrap();
    };
    assert_eq!(served.get("/v1/gaps").1["senders"].as_array().unwrap().len(), 0);
    // The terminal is unknown here. Over the wrap; 1, 2, 3 and 6 to 9 are skipped, 2 comes late, 5 twice; then it starts anew.
    for serial in [65_534, 65_535, 0, 4, 5, 2, 5, 10, 1_000, 3] {
        send("jt808", &heartbeat(serial));
    }
    served.await_metric(&total("restarted", "jt808"), 1);
    // The second name is left out: it is still the same gateway's.
    for (gateway, sequence) in [("north", 1), ("", 2), ("", 5), ("", 0)] {
        send("muster", &batch(gateway, sequence));
    }
    served.await_metric(&total("missing", "muster"), 2);
    let missing = 3 + 4 + 989;
    assert_eq!(served.metric(&total("missing", "jt808")), missing);
    assert_eq!(served.metric(&total("reordered", "jt808")), 1);
    assert_eq!(served.metric(&total("reordered", "muster")), 0);
    let (status, answer) = served.get("/v1/gaps");
    let senders = answer["senders"].as_array().unwrap();
    assert_eq!((status, senders.len()), (200, 2), "{answer}");
    let terminal = &senders[0];
    assert_eq!((&terminal["sender"], &terminal["protocol"]), (&"jt808:42".into(), &"jt808".into()));
    assert_eq!(terminal["missing"], missing - 1, "the late one came after all");
    assert_eq!((&terminal["reordered"], &terminal["restarts"]), (&1.into(), &1.into()));
    assert_eq!(terminal["last_number"], 3);
    assert!((0.0..10.0).contains(&terminal["heard_age_s"].as_f64().unwrap()), "{terminal}");
    let gateway = &senders[1];
    assert_eq!((&gateway["sender"], &gateway["protocol"]), (&"gateway:north".into(), &"muster".into()));
    assert_eq!((&gateway["missing"], &gateway["last_number"]), (&2.into(), &5.into()));
    assert_eq!(served.get("/v1/gaps?limit=1").1["senders"].as_array().unwrap().len(), 1);
}

#[test]
fn a_limit_that_gaps_cannot_have_is_refused_by_name() {
    let served = Served::with(&[]);
    for query in ["limit=0", "limit=1001", "limit=many"] {
        let (status, answer) = served.get(&format!("/v1/gaps?{query}"));
        assert_eq!((status, answer["field"].as_str()), (400, Some("limit")), "{query}");
    }
    let (status, answer) = served.get("/v1/gaps?sender=north");
    assert_eq!((status, answer["field"].as_str()), (400, Some("sender")));
    assert_eq!(served.get("/v1/gaps?limit=1000").0, 200);
}
