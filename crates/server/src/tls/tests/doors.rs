use std::net::SocketAddr;
use std::sync::Arc;

use model::Role;
use prost::Message as _;
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
use store::audit::Filter;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use wire::proto::{self, gateway_up};

use super::authority::{Authority, Pair, Scene, ask, ask_on, common, connect, exchange, gateway, of};
use crate::Server;
use crate::tls::{Incoming, Port, Tls};

const REPORTS: &str = r#"{"reports":[{"device":"muster:7","lat":22.817,"lon":108.366}]}"#;

/// A batch as the `muster` format has it over TCP.
fn frame() -> Vec<u8> {
    let report =
        proto::Report { device: "muster:7".into(), lat_e7: 228_170_000, lon_e7: 1_083_660_000, ..Default::default() };
    let batch = proto::ReportBatch { batch_sequence: 1, reports: vec![report] };
    let payload = Some(gateway_up::Payload::Reports(batch));
    proto::GatewayUp { gateway: "gw".into(), payload }.encode_length_delimited_to_vec()
}

/// Whether a batch over TCP is acknowledged.
async fn is_acknowledged(address: SocketAddr, client: &TlsConnector) -> bool {
    let Ok(mut stream) = connect(address, client).await else { return false };
    exchange(&mut stream, &frame()).await.is_ok()
}

/// The first line of the answer to a batch over HTTP; empty when there is none.
async fn posted(address: SocketAddr, client: &TlsConnector) -> String {
    let answer = ask(address, client, "POST /v1/reports HTTP/1.1", REPORTS).await.unwrap_or_default();
    answer.lines().next().unwrap_or_default().to_owned()
}

/// What is wrong with each, and the certificate. A good one first.
fn cases(scene: &Scene) -> Vec<(&'static str, Pair)> {
    let sign = |params| scene.gateways.sign(&params);
    let dated = |from, until| {
        let mut params = gateway(&["gw-1"], 2);
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        params
    };
    let alone = |params: rcgen::CertificateParams| {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Pair { pem: certificate.pem(), chain: vec![certificate.der().clone()], key }
    };
    let stranger = |name| Authority::new(name).sign(&gateway(&["gw-1"], 2));
    vec![
        ("good", sign(gateway(&["gw-1"], 2))),
        ("good by its common name", sign(common("gw-2", 2))),
        ("expired", sign(dated(2020, 2021))),
        ("not yet valid", sign(dated(2100, 2101))),
        ("of an authority that nobody knows", stranger("strangers")),
        ("of a stranger with the name of our authority", stranger("gateways")),
        ("of the authority of the server", scene.authority.sign(&gateway(&["gw-1"], 2))),
        ("signed by itself", alone(gateway(&["gw-1"], 2))),
        ("of a server", sign(of(&["gw-1"], ExtendedKeyUsagePurpose::ServerAuth, 2))),
        ("with a DNS name that is not listed", sign(gateway(&["gw-9", "gw-1"], 2))),
        ("with a common name that is not listed", sign(common("gw-9", 2))),
        ("without a name", sign(gateway(&[], 2))),
        ("with the name of the server's own", sign(common("local", 2))),
        ("revoked", sign(gateway(&["gw-1"], 666))),
    ]
}

#[tokio::test]
async fn a_certificate_lets_its_gateway_in_and_twelve_bad_ones_let_nobody_in() {
    let scene = Scene::new();
    let server = Server::start(&scene.config(&["gw-1", "gw-2", "local"])).await.unwrap();
    let addresses = server.addresses().clone();
    let (http, grpc, muster) = (addresses.http, addresses.grpc.unwrap(), addresses.listen[0].address);
    for (name, pair) in cases(&scene) {
        let is_good = name.starts_with("good");
        let client = scene.client(Some(&pair));
        assert_eq!(is_acknowledged(muster, &client).await, is_good, "muster: {name}");
        let line = if is_good { "HTTP/1.1 200 OK" } else { "" };
        assert_eq!(posted(http, &client).await, line, "http: {name}");
        assert_eq!(settles(grpc, &client).await, is_good, "grpc: {name}");
        let old = scene.client_of(Some(&pair), &[&rustls::version::TLS12]);
        assert_eq!(is_acknowledged(muster, &old).await, is_good, "TLS 1.2: {name}");
    }
    assert!(!is_acknowledged(muster, &scene.client(None)).await, "nobody is a gateway without a certificate");
    assert_eq!(posted(http, &scene.client(None)).await, "HTTP/1.1 401 Unauthorized");
    server.stop().await;
}

/// Whether a call over gRPC speaks HTTP/2 and gets its settings.
async fn settles(address: SocketAddr, client: &TlsConnector) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    let mut config = (**client.config()).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let client = TlsConnector::from(Arc::new(config));
    let Ok(mut stream) = connect(address, &client).await else { return false };
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    exchange(&mut stream, PREFACE).await.is_ok()
}

#[tokio::test]
async fn a_gateway_by_certificate_reports_for_its_devices_only() {
    let scene = Scene::new();
    let own = |pattern: &str| Arc::new(ingest::Allowed::new(&[], &[pattern.to_owned()]).unwrap());
    let mut config = scene.config(&[]);
    config.tls.client_devices = [("GW-1".to_owned(), own("tetra-lip:*")), ("gw-2".to_owned(), own("muster:*"))].into();
    let server = Server::start(&config).await.unwrap();
    let (http, muster) = (server.addresses().http, server.addresses().listen[0].address);
    for (name, is_refused) in [("gw-1", true), ("gw-2", false), ("gw-3", false)] {
        let client = scene.client(Some(&scene.gateways.sign(&gateway(&[name], 2))));
        let mut stream = connect(muster, &client).await.unwrap();
        let answer = exchange(&mut stream, &frame()).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer).contains("device_not_allowed"), is_refused, "muster: {name}");
        let answer = ask(http, &client, "POST /v1/reports HTTP/1.1", REPORTS).await.unwrap();
        assert_eq!(answer.contains("device_not_allowed"), is_refused, "http: {name}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_gateway_by_certificate_brings_reports_and_sees_nothing() {
    let scene = Scene::new();
    let server = Server::start(&scene.config(&[])).await.unwrap();
    let http = server.addresses().http;
    let client = scene.client(Some(&scene.gateways.sign(&gateway(&["gw-1"], 2))));
    assert_eq!(posted(http, &client).await, "HTTP/1.1 200 OK");
    for head in ["GET /v1/units HTTP/1.1", "GET /v1/tokens HTTP/1.1", "DELETE /v1/units/x HTTP/1.1"] {
        assert!(ask(http, &client, head, "").await.unwrap().starts_with("HTTP/1.1 403"), "{head}");
    }
    assert!(ask(http, &client, "POST /v1/session HTTP/1.1", "").await.unwrap().starts_with("HTTP/1.1 401"));
    // What a token says counts before the certificate.
    let wrong = "POST /v1/reports HTTP/1.1\r\nauthorization: Bearer muster_wrong";
    assert!(ask(http, &client, wrong, REPORTS).await.unwrap().starts_with("HTTP/1.1 401"));
    let rows = server.service().store.query_audit(&Filter::default(), None, 100).unwrap().rows;
    let refused = rows.iter().filter(|row| row.principal == "gw-1" && row.outcome == "refused").count();
    assert_eq!(refused, 3);
    server.stop().await;
}

#[tokio::test]
async fn a_revoked_gateway_loses_the_connection_it_has() {
    let scene = Scene::new();
    let server = Server::start(&scene.config(&[])).await.unwrap();
    let (http, muster) = (server.addresses().http, server.addresses().listen[0].address);
    let client = scene.client(Some(&scene.gateways.sign(&gateway(&["gw-1"], 2))));
    let other = scene.client(Some(&scene.gateways.sign(&gateway(&["gw-2"], 3))));
    let mut streams = [connect(muster, &client).await.unwrap(), connect(muster, &other).await.unwrap()];
    for stream in &mut streams {
        exchange(stream, &frame()).await.unwrap();
    }
    let mut session = connect(http, &client).await.unwrap();
    assert!(ask_on(&mut session, "POST /v1/reports HTTP/1.1", REPORTS).await.unwrap().contains("200 OK"));
    scene.write("crl.pem", &scene.gateways.revoke(&[2, 666], 2100));
    server.service().tls.as_ref().unwrap().look();
    let [first, second] = &mut streams;
    assert!(exchange(first, &frame()).await.is_err(), "revoked");
    assert!(exchange(second, &frame()).await.is_ok(), "another's certificate holds");
    assert!(ask_on(&mut session, "POST /v1/reports HTTP/1.1", REPORTS).await.is_err());
    assert!(!is_acknowledged(muster, &client).await);
    // A list that is overdue lets nobody new in, and throws nobody out.
    scene.write("crl.pem", &scene.gateways.revoke(&[2, 666], 2021));
    server.service().tls.as_ref().unwrap().look();
    assert!(exchange(second, &frame()).await.is_ok());
    assert!(!is_acknowledged(muster, &other).await);
    server.stop().await;
}

#[tokio::test]
async fn a_session_cookie_is_for_encrypted_connections_where_there_are_some() {
    let scene = Scene::new();
    let server = Server::start(&scene.config(&[])).await.unwrap();
    let service = server.service();
    let viewer =
        model::Principal { name: model::PrincipalName::new("ana").unwrap(), role: Role::Viewer, organisation: None };
    let (now, local) = (service.engine.live().now(), model::Principal::local());
    let by = store::By { principal: &local, now, reason: None };
    let expires = now.after(std::time::Duration::from_secs(3_600));
    let secret = service.store.create_token(&by, &viewer, expires).unwrap();
    let head = format!("POST /v1/session HTTP/1.1\r\nauthorization: Bearer {secret}");
    let answer = ask(server.addresses().http, &scene.client(None), &head, "").await.unwrap();
    assert!(answer.contains("HttpOnly; SameSite=Strict") && answer.contains("; Secure"), "{answer}");
    // Nothing is said in the clear.
    let mut plain = TcpStream::connect(server.addresses().http).await.unwrap();
    let mut heard = Vec::new();
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut plain, &mut heard).await;
    assert!(!heard.starts_with(b"HTTP"), "{heard:?}");
    server.stop().await;
}

/// The oldest makes room, so that those who never say a word keep nobody out.
#[tokio::test]
async fn half_open_handshakes_make_room_for_one_that_is_whole() {
    let scene = Scene::new();
    let tls = Tls::of(&scene.tls(&[])).unwrap();
    let counters = Arc::<ingest::Counters>::default();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut incoming = Incoming::new(socket, Port::Http, tls.as_ref(), &counters).narrow(4);
    let serving = tokio::spawn(async move { axum::serve::Listener::accept(&mut incoming).await });
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(connect(address, &scene.client(None)).await.is_ok());
    serving.await.unwrap();
    let mut registry = prometheus_client::registry::Registry::default();
    counters.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("connections_closed_total{protocol=\"http\",reason=\"handshakes_max\"}"), "{text}");
}

/// Before the handshake, whose room strangers must not take.
#[tokio::test]
async fn a_connection_from_another_network_gets_no_handshake_and_the_next_one_is_served() {
    let scene = Scene::new();
    let tls = Tls::of(&scene.tls(&[])).unwrap();
    let counters = Arc::<ingest::Counters>::default();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut incoming = Incoming::new(socket, Port::Http, tls.as_ref(), &counters);
    let (allowed, counted) = (ingest::Allowed::new(&["127.0.0.2/32".to_owned()], &[]).unwrap(), Arc::clone(&counters));
    let serving = tokio::spawn(async move {
        let door = ingest::Door::of(&allowed, &counted, "muster");
        ingest::Incoming::accept(&mut incoming, door).await.unwrap();
    });
    let mut stranger = TcpStream::connect(address).await.unwrap();
    let mut nothing = Vec::new();
    drop(tokio::io::AsyncReadExt::read_to_end(&mut stranger, &mut nothing).await);
    assert_eq!((nothing.len(), counters.turned_away_so_far("muster", "network")), (0, 1));
    let ours = tokio::net::TcpSocket::new_v4().unwrap();
    ours.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let ours = ours.connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    scene.client(None).connect(name, ours).await.unwrap();
    serving.await.unwrap();
}
