//! A gateway and a dispatch system over a real socket.

use tokio_stream::StreamExt;
use tonic::transport::Channel;
use wire::proto::{self, gateway_down, gateway_up, within_request};

use super::stubs::ingest_client::IngestClient;
use super::stubs::query_client::QueryClient;
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
