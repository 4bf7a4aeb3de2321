use std::pin::Pin;
use std::sync::Arc;

use ingest::{Admission, Admitter, Intake, NotSettled};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use wire::muster::Session;
use wire::proto::{self, GatewayDown, GatewayUp, gateway_down};
use wire::{Context, Decoded, Decoder as _, Reply};

use super::stubs::ingest_server::Ingest;
use crate::access::{Asker, asker_of};
use crate::intake::{EngineIntake, Settlement};
use crate::run::Service;

/// The protocol name under which these reports are counted.
const PROTOCOL: &str = "grpc";
/// Acknowledgements that may wait before the stream is no longer read.
const UNSETTLED_MAX: usize = model::limits::UNSETTLED_FRAMES_MAX;

pub(super) struct Gateways {
    service: Arc<Service>,
    stopped: watch::Receiver<bool>,
    /// For so many streams at once as a listener has connections: each remembers names.
    room: Arc<Semaphore>,
}

impl Gateways {
    pub(super) fn new(service: Arc<Service>, stopped: watch::Receiver<bool>) -> Self {
        let room = Arc::new(Semaphore::new(service.setting.limits.connections_max));
        Self { service, stopped, room }
    }
}

/// An acknowledgement that waits for its settlement.
type Waiting = (Settlement, proto::Ack);

#[tonic::async_trait]
impl Ingest for Gateways {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<GatewayDown, Status>> + Send>>;

    async fn connect(&self, request: Request<Streaming<GatewayUp>>) -> Result<Response<Self::ConnectStream>, Status> {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            self.service.setting.counters.turned_away(PROTOCOL, "connections_max");
            return Err(Status::resource_exhausted("too many gateways are connected"));
        };
        let (waiting, due) = mpsc::channel::<Result<Waiting, Status>>(UNSETTLED_MAX);
        let stream = GatewayStream::new(&self.service, asker_of(&request));
        let mut stopped = self.stopped.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stream.read(request.into_inner(), &waiting) => {}
                () = async { drop(stopped.wait_for(|stopped| *stopped).await) } => {
                    let _ = waiting.send(Err(Status::unavailable("the server is stopping"))).await;
                }
            }
            drop(place);
        });
        let acks = ReceiverStream::new(due).then(|waiting| async {
            let (settlement, ack) = waiting?;
            down(settlement.await, ack)
        });
        Ok(Response::new(Box::pin(acks)))
    }
}

/// One gateway's stream.
struct GatewayStream {
    service: Arc<Service>,
    session: Session,
    admitter: Admitter<EngineIntake>,
    decoded: Decoded,
    asker: Asker,
}

impl GatewayStream {
    fn new(service: &Arc<Service>, asker: Asker) -> Self {
        let setting = &service.setting;
        let admitter = Admitter::new(setting, PROTOCOL).connected().only(asker.devices());
        Self { service: Arc::clone(service), session: Session::default(), admitter, decoded: Decoded::default(), asker }
    }

    async fn read(mut self, mut up: Streaming<GatewayUp>, waiting: &mpsc::Sender<Result<Waiting, Status>>) {
        self.service.setting.counters.opened(PROTOCOL);
        let reason = loop {
            let message = match up.next().await {
                None => break "peer",
                Some(Err(_)) => break "error",
                Some(Ok(message)) => message,
            };
            let (due, lost) = match self.take(message).await {
                Ok(None) => continue,
                Ok(Some(one)) => (Ok(one), false),
                Err(status) => (Err(status), true),
            };
            if waiting.send(due).await.is_err() {
                break "peer";
            }
            if lost {
                break "stream_lost";
            }
        };
        self.service.setting.counters.closed(PROTOCOL, reason);
    }

    async fn take(&mut self, message: GatewayUp) -> Result<Option<Waiting>, Status> {
        // Rights end with their token, also on a stream that is open.
        self.service.still(&self.asker).map_err(|denied| Status::unauthenticated(denied.to_string()))?;
        let setting = &self.service.setting;
        let (counters, received) = (&setting.counters, setting.clock.now());
        counters.frame(PROTOCOL);
        let decoded = &mut self.decoded;
        decoded.clear();
        if let Err(error) = self.session.read(message, &Context { received }, decoded) {
            counters.frame_dropped(PROTOCOL, error.reason());
            return Err(Status::invalid_argument(error.to_string()));
        }
        let batch = decoded.replies.iter().find_map(|reply| match reply {
            Reply::BatchAck { batch_sequence } => Some(*batch_sequence),
            _ => None,
        });
        let mut admission = Admission { heard: setting.intake.buffer(), ..Admission::default() };
        self.admitter.hear(self.session.gateway());
        self.admitter.admit(decoded, self.session.devices(), received, &mut admission);
        let Admission { heard, reports, refusals, .. } = admission;
        let settlement = setting.intake.submit(heard).await;
        let settlement = settlement.map_err(|error| Status::unavailable(error.to_string()))?;
        counters.admitted(PROTOCOL, reports);
        Ok(batch.map(|batch_sequence| {
            let refused = refusals.into_iter().map(|refusal| proto::Refused {
                index: refusal.place,
                reason: refusal.reason.to_owned(),
                detail: refusal.detail,
            });
            (settlement, proto::Ack { batch_sequence, refused: refused.collect() })
        }))
    }
}

/// The acknowledgement once the batch is settled; or that it is not stored, and the stream goes on.
fn down(settled: Result<(), NotSettled>, ack: proto::Ack) -> Result<GatewayDown, Status> {
    let payload = match settled {
        Ok(()) => gateway_down::Payload::Ack(ack),
        Err(NotSettled::NotStored { reason, detail, is_applied: applied }) => {
            let (batch_sequence, reason) = (ack.batch_sequence, reason.to_owned());
            gateway_down::Payload::NotStored(proto::NotStored { batch_sequence, reason, detail, applied })
        }
        Err(error) => return Err(Status::unavailable(error.to_string())),
    };
    Ok(GatewayDown { payload: Some(payload) })
}
