//! A gateway and a dispatch system over a real socket.

use tokio_stream::StreamExt;
use tonic::transport::Channel;
use wire::proto::{self, gateway_down, gateway_up, within_request};

use super::clients::ingest_client::IngestClient;
use super::clients::query_client::QueryClient;
use super::clients::zones_client::ZonesClient;
use crate::Server;
use crate::config::{Config, Data};

async fn started() -> (Server, Channel) {
    let any = "127.0.0.1:0".parse().unwrap();
    let config = Config { http: any, grpc: Some(any), admit_unknown: true, data: Data::Off, ..Config::default() };
    let server = Server::start(&config).await.unwrap();
    let url = format!("http://{}", server.addresses().grpc.unwrap());
    let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
    (server, channel)
}

fn batch(batch_sequence: u64, lat_e7: &[i32]) -> proto::GatewayUp {
    let report = |(number, lat_e7): (usize, &i32)| proto::Report {
        device: format!("tetra-lip:{number}"),
        lat_e7: *lat_e7,
        lon_e7: 1_083_660_000,
        ..Default::default()
    };
    let reports = lat_e7.iter().enumerate().map(report).collect();
    let payload = gateway_up::Payload::Reports(proto::ReportBatch { batch_sequence, reports });
    proto::GatewayUp { gateway: "gateway-1".into(), payload: Some(payload) }
}

fn centre() -> Option<proto::Place> {
    Some(proto::Place { lat_e7: 228_170_000, lon_e7: 1_083_660_000 })
}

#[tokio::test]
async fn batches_are_acknowledged_in_order_and_their_units_found() {
    let (server, channel) = started().await;
    let mut ingest = IngestClient::new(channel.clone());
    let batches = vec![batch(1, &[228_170_000, 228_180_000]), batch(2, &[228_171_000, 910_000_000])];
    let mut down = ingest.connect(tokio_stream::iter(batches)).await.unwrap().into_inner();
    let mut acks = Vec::new();
    while let Some(message) = down.next().await {
        match message.unwrap().payload {
            Some(gateway_down::Payload::Ack(ack)) => acks.push(ack),
            other => panic!("an acknowledgement, not {other:?}"),
        }
    }
    assert_eq!(acks.iter().map(|ack| ack.batch_sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((acks[1].refused[0].index, acks[1].refused[0].reason.as_str()), (1, "position"));
    let mut query = QueryClient::new(channel);
    let ask = proto::NearestRequest { centre: centre(), k: 2, request_id: 9, ..Default::default() };
    let answer = query.nearest(ask).await.unwrap().into_inner();
    let names: Vec<_> = answer.units.iter().map(|unit| unit.unit.as_str()).collect();
    assert_eq!((names, answer.request_id), (vec!["tetra-lip:0", "tetra-lip:1"], 9));
    let circle = proto::Circle { centre: centre(), radius_m: 50.0 };
    let ask = proto::WithinRequest { area: Some(within_request::Area::Circle(circle)), ..Default::default() };
    let inside = query.within(ask).await.unwrap().into_inner();
    assert_eq!(inside.units.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn nearest_names_those_left_out_and_ranks_by_what_is_possible() {
    let (server, channel) = started().await;
    let mut ingest = IngestClient::new(channel.clone());
    let reports = tokio_stream::iter(vec![batch(1, &[228_170_000, 228_180_000])]);
    let mut down = ingest.connect(reports).await.unwrap().into_inner();
    while down.next().await.is_some() {}
    let mut query = QueryClient::new(channel);
    let filter = Some(proto::Filter { kinds: vec!["car".into()], ..Default::default() });
    let rank = proto::Rank::Possible.into();
    let ask = proto::NearestRequest { centre: centre(), explain: true, rank, ..Default::default() };
    let answer = query.nearest(proto::NearestRequest { filter, ..ask.clone() }).await.unwrap().into_inner();
    let left_out: Vec<_> = answer.left_out.iter().map(|one| (one.unit.as_str(), one.reason.as_str())).collect();
    assert_eq!(left_out, [("tetra-lip:0", "kind"), ("tetra-lip:1", "kind")]);
    assert!(answer.left_out[1].distance_m > 110.0 && answer.left_out[1].fix_age_s.is_some());
    assert_eq!((answer.left_out_rest, answer.candidates.as_str()), (0, "all"));
    let answer = query.nearest(ask.clone()).await.unwrap().into_inner();
    let found = &answer.units[1];
    let distance_m = found.distance_m.unwrap();
    assert!(found.possible_least_m.unwrap() < distance_m && found.possible_most_m.unwrap() >= distance_m + 30.0);
    let status = query.nearest(proto::NearestRequest { rank: 7, ..ask }).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (tonic::Code::InvalidArgument, "`rank`: 7 is no rank"));
    server.stop().await;
}

#[tokio::test]
async fn a_bad_question_says_so_in_its_place_and_the_stream_goes_on() {
    let (server, channel) = started().await;
    let mut query = QueryClient::new(channel);
    let bad = proto::NearestRequest { centre: None, request_id: 1, ..Default::default() };
    let status = query.nearest(bad.clone()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (tonic::Code::InvalidArgument, "`centre`: is missing"));
    let good = proto::NearestRequest { centre: centre(), request_id: 2, ..Default::default() };
    let asks = tokio_stream::iter([bad, good]);
    let answers = query.nearest_stream(asks).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.map(|one| (one.request_id, one.error))).collect().await;
    assert_eq!(answers[0].as_ref().unwrap(), &(1, "`centre`: is missing".to_owned()));
    assert_eq!(answers[1].as_ref().unwrap(), &(2, String::new()));
    server.stop().await;
}

#[tokio::test]
async fn a_filter_with_too_long_a_list_is_refused_by_name() {
    let (server, channel) = started().await;
    let mut query = QueryClient::new(channel);
    let many = vec!["car".to_owned(); 65];
    let filter = proto::Filter::default;
    let filters = [
        ("kinds", proto::Filter { kinds: many.clone(), ..filter() }),
        ("statuses", proto::Filter { statuses: many.clone(), ..filter() }),
        ("organisations", proto::Filter { organisations: many.clone(), ..filter() }),
        ("capabilities", proto::Filter { capabilities: many.clone(), ..filter() }),
        ("include", proto::Filter { include: many, ..filter() }),
    ];
    for (field, filter) in filters {
        let refused =
            query.nearest(proto::NearestRequest { filter: Some(filter), ..nearest_ask(1) }).await.unwrap_err();
        let expected = format!("`{field}`: 65 words are more than 64");
        assert_eq!((refused.code(), refused.message()), (tonic::Code::InvalidArgument, expected.as_str()));
    }
    let most = proto::Filter { kinds: vec!["car".to_owned(); 64], ..filter() };
    assert!(query.nearest(proto::NearestRequest { filter: Some(most), ..nearest_ask(2) }).await.is_ok());
    server.stop().await;
}

/// Takes every seat that there is, and keeps them.
async fn full(server: &Server) -> Vec<crate::seats::Seat> {
    let (service, mut held) = (server.service(), Vec::new());
    let emergency = crate::seats::Request {
        class: query::Class::Nearest,
        lane: query::Lane::Emergency,
        read_at: service.seats.now(),
        deadline: std::time::Duration::from_secs(3_600),
    };
    for _ in 0..Config::default().contract.room().seats_in_all() {
        held.push(service.seats.take(emergency).await.ok().unwrap());
    }
    held
}

/// Nobody is served before its deadline: a search takes a minute by the average.
async fn overloaded(server: &Server) -> Vec<crate::seats::Seat> {
    server.service().seats.suppose(query::Class::Nearest, std::time::Duration::from_secs(60));
    server.service().seats.suppose(query::Class::Within, std::time::Duration::from_secs(60));
    full(server).await
}

fn nearest_ask(request_id: u64) -> proto::NearestRequest {
    proto::NearestRequest { centre: centre(), k: 1, request_id, ..Default::default() }
}

fn in_lane<T>(lane: &'static str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("muster-lane", lane.parse().unwrap());
    request
}

#[tokio::test]
async fn in_overload_a_query_is_refused_at_once_and_an_emergency_waits_for_a_seat() {
    let (server, channel) = started().await;
    let seats = overloaded(&server).await;
    let mut query = QueryClient::new(channel);
    let refused = query.nearest(nearest_ask(1)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted, "{refused:?}");
    assert!(refused.metadata().get("grpc-retry-pushback-ms").is_some());
    let circle = within_request::Area::Circle(proto::Circle { centre: centre(), radius_m: 50.0 });
    let ask = proto::WithinRequest { area: Some(circle), ..Default::default() };
    assert_eq!(query.within(ask).await.unwrap_err().code(), tonic::Code::ResourceExhausted);
    // The stream says so for each question, in its place.
    let asks = [nearest_ask(2), proto::NearestRequest { allow_degraded: true, ..nearest_ask(3) }, nearest_ask(4)];
    let answers = query.nearest_stream(tokio_stream::iter(asks)).await.unwrap().into_inner();
    let answers: Vec<_> =
        answers.map(|one| one.map(|one| (one.request_id, one.error_code, one.degraded))).collect().await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [(2, 8, false), (3, 0, true), (4, 8, false)]);
    // An emergency waits as long as its deadline allows, and is served with the first free seat.
    let mut asking = query.clone();
    let emergency = tokio::spawn(async move {
        let mut ask = in_lane("emergency", nearest_ask(5));
        ask.set_timeout(std::time::Duration::from_secs(10));
        asking.nearest(ask).await
    });
    while server.service().seats.taken().1[0] == 0 {
        tokio::task::yield_now().await;
    }
    drop(seats);
    assert_eq!(emergency.await.unwrap().unwrap().into_inner().request_id, 5);
    server.stop().await;
}

#[tokio::test]
async fn a_deadline_that_passes_in_the_queue_is_deadline_exceeded() {
    let (server, channel) = started().await;
    let seats = full(&server).await;
    let mut query = QueryClient::new(channel);
    let late = query.nearest(in_lane("emergency", nearest_ask(1))).await.unwrap_err();
    assert_eq!(late.code(), tonic::Code::DeadlineExceeded, "{late:?}");
    drop(seats);
    let wrong = query.nearest(in_lane("urgent", nearest_ask(2))).await.unwrap_err();
    assert_eq!(wrong.code(), tonic::Code::InvalidArgument);
    assert!(wrong.message().contains("`muster-lane`") && wrong.message().contains("urgent"), "{wrong:?}");
    assert_eq!(query.nearest(nearest_ask(3)).await.unwrap().into_inner().request_id, 3, "and then all is well");
    server.stop().await;
}

/// The bytes of `asks` as a client sends them in one go.
fn framed(asks: impl Iterator<Item = proto::NearestRequest>) -> bytes::Bytes {
    let mut burst = Vec::new();
    for ask in asks {
        burst.push(0);
        burst.extend((prost::Message::encoded_len(&ask) as u32).to_be_bytes());
        prost::Message::encode(&ask, &mut burst).unwrap();
    }
    burst.into()
}

#[tokio::test]
async fn a_burst_of_a_thousand_questions_is_answered_with_few_writes_and_in_order() {
    use super::stubs::query_server::QueryServer;
    use tower::ServiceExt;
    let (server, _) = started().await;
    let burst = framed((0..1_000).map(nearest_ask));
    // The request body never ends: an answer that waited for more would never come.
    let endless = tokio_stream::once(Ok::<_, std::io::Error>(burst)).chain(tokio_stream::pending());
    let request = axum::http::Request::post("/muster.v1.Query/NearestStream")
        .header("content-type", "application/grpc")
        .extension(crate::access::Asker::local())
        .body(axum::body::Body::from_stream(endless))
        .unwrap();
    let service = QueryServer::new(super::queries::Queries { service: std::sync::Arc::clone(server.service()) });
    let response = service.oneshot(request).await.unwrap();
    let mut answers = axum::body::Body::new(response.into_body()).into_data_stream();
    let (mut bytes, mut writes, mut ids) = (Vec::new(), 0, Vec::new());
    while ids.len() < 1_000 {
        bytes.extend(answers.next().await.unwrap().unwrap());
        writes += 1;
        while let Some((head, rest)) = bytes.split_at_checked(5) {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let Some(message) = rest.get(..length) else { break };
            let answer: proto::NearestResponse = prost::Message::decode(message).unwrap();
            assert_eq!(answer.error, "");
            ids.push(answer.request_id);
            bytes.drain(..5 + length);
        }
    }
    assert!(ids.is_sorted(), "in the order of the questions");
    assert!(writes <= 4, "{writes} writes");
    server.stop().await;
}

#[tokio::test]
async fn the_health_service_says_when_the_engine_has_stopped() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let (server, channel) = started().await;
    let mut streams = Vec::new();
    for service in ["", "muster.v1.Ingest", "muster.v1.Query"] {
        let ask = HealthCheckRequest { service: service.to_owned() };
        let mut told = HealthClient::new(channel.clone()).watch(ask).await.unwrap().into_inner();
        assert_eq!(told.next().await.unwrap().unwrap().status(), ServingStatus::Serving, "{service:?}");
        streams.push(told);
    }
    server.service().engine.suppose_broken();
    for mut told in streams {
        assert_eq!(told.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_gateway_beyond_the_limit_of_connections_is_turned_away() {
    let any = "127.0.0.1:0".parse().unwrap();
    let config = Config { http: any, grpc: Some(any), connections_max: 1, data: Data::Off, ..Config::default() };
    let server = Server::start(&config).await.unwrap();
    let url = format!("http://{}", server.addresses().grpc.unwrap());
    let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
    let mut ingest = IngestClient::new(channel);
    let first = ingest.connect(tokio_stream::pending()).await.unwrap();
    let second = ingest.connect(tokio_stream::pending()).await.unwrap_err();
    assert_eq!(second.code(), tonic::Code::ResourceExhausted);
    drop(first);
    server.stop().await;
}

/// The units of a silent gateway say so in both interfaces, and its next word takes it back.
#[tokio::test]
async fn units_of_a_gateway_that_left_are_flagged_until_it_comes_back() {
    let (server, channel) = started().await;
    let mut ingest = IngestClient::new(channel.clone());
    let down = ingest.connect(tokio_stream::iter([batch(1, &[228_170_000, 228_180_000])])).await.unwrap();
    assert_eq!(down.into_inner().collect::<Vec<_>>().await.len(), 1);
    let mut query = QueryClient::new(channel);
    let mut flags = async || {
        let ask = proto::NearestRequest { centre: centre(), k: 2, ..Default::default() };
        let answer = query.nearest(ask).await.unwrap().into_inner();
        answer.units.into_iter().map(|unit| unit.flags.concat()).collect::<Vec<_>>()
    };
    assert_eq!(flags().await, ["", ""]);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while flags().await != ["gateway_lost", "gateway_lost"] {
        assert!(std::time::Instant::now() < until, "it is lost a second after its last connection");
    }
    let listed = ask_http(&server, "/v1/gateways").await;
    assert!(listed.contains(r#""gateway":"gateway-1","lost":true"#) && listed.contains(r#""units":2"#), "{listed}");
    let unit = ask_http(&server, "/v1/units/tetra-lip:0").await;
    assert!(unit.contains(r#""flags":["gateway_lost"]"#), "{unit}");
    let (up, messages) = tokio::sync::mpsc::channel(1);
    let _open = ingest.connect(tokio_stream::wrappers::ReceiverStream::new(messages)).await.unwrap();
    up.send(batch(2, &[228_170_000, 228_180_000])).await.unwrap();
    while flags().await != ["", ""] {
        assert!(std::time::Instant::now() < until, "it is found with its next batch");
    }
    let listed = ask_http(&server, "/v1/gateways").await;
    assert!(listed.contains(r#""gateway":"gateway-1","lost":false"#), "{listed}");
    server.stop().await;
}

async fn ask_http(server: &Server, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(server.addresses().http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_zone_is_written_listed_read_and_ended() {
    let (server, channel) = started().await;
    let mut zones = ZonesClient::new(channel);
    let circle =
        proto::Circle { centre: Some(proto::Place { lat_e7: 228_170_000, lon_e7: 1_083_660_000 }), radius_m: 200.0 };
    let zone = proto::Zone {
        zone: "booth-1".to_owned(),
        layer: 4,
        shape: Some(proto::zone::Shape::Circle(circle)),
        ..proto::Zone::default()
    };
    let write =
        |expect_absent| proto::WriteZoneRequest { zone: Some(zone.clone()), expected_version: None, expect_absent };
    let written = zones.write(write(true)).await.unwrap().into_inner();
    assert_eq!((written.zone.as_str(), written.layer, &written.shape), ("booth-1", 4, &zone.shape));
    assert_eq!(zones.write(write(true)).await.unwrap_err().code(), tonic::Code::FailedPrecondition);
    let listed = zones.list(proto::ListZonesRequest { layer: 4, ..Default::default() }).await.unwrap().into_inner();
    assert_eq!(listed.zones, std::slice::from_ref(&written));
    let named = || "booth-1".to_owned();
    let read = proto::ReadZoneRequest { zone: named(), as_of_ms: None };
    assert_eq!(zones.read(read.clone()).await.unwrap().into_inner(), written);
    let stale = proto::DeleteZoneRequest { zone: named(), expected_version: Some(written.version + 1) };
    assert_eq!(zones.delete(stale).await.unwrap_err().code(), tonic::Code::FailedPrecondition);
    zones.delete(proto::DeleteZoneRequest { zone: named(), expected_version: Some(written.version) }).await.unwrap();
    assert_eq!(zones.read(read).await.unwrap_err().code(), tonic::Code::NotFound);
    server.stop().await;
}
