use std::sync::Arc;

use futures_util::stream;
use model::Event;
use tokio_stream::Stream;
use tonic::{Request, Status};
use wire::proto::{self, WatchEvent};

use crate::access::asker_of;
use crate::http::event_body;
use crate::listeners::{Ended, Listener, Told, Wanted, kinds};
use crate::run::Service;

/// Events from a number on, until the caller goes or may hear no more.
pub(super) fn watch(
    service: &Arc<Service>,
    request: Request<proto::WatchRequest>,
) -> Result<impl Stream<Item = Result<WatchEvent, Status>> + Send + use<>, Status> {
    let asker = asker_of(&request);
    let proto::WatchRequest { after_sequence, kinds: words } = request.into_inner();
    let kinds = kinds(&words).map_err(|error| Status::invalid_argument(format!("kinds: {error}")))?;
    let wanted = Wanted { kinds, ..Wanted::default() };
    let after = (after_sequence > 0).then_some(after_sequence);
    let listener = Listener::new(service, asker, wanted, after, "grpc");
    let listener = listener.map_err(|problem| Status::resource_exhausted(problem.detail()))?;
    Ok(stream::unfold((Some(listener), Vec::new().into_iter()), |(listener, mut left)| async move {
        let mut listener = listener;
        loop {
            if let Some(event) = left.next() {
                return Some((Ok(event), (listener, left)));
            }
            let told = listener.as_mut()?.next().await;
            left = match told {
                Ok(Told::Events(events)) => {
                    events.iter().map(|noted| message(&noted.event)).collect::<Vec<_>>().into_iter()
                }
                Ok(Told::Gap(from, until)) => vec![gap(from, until)].into_iter(),
                Ok(Told::Idle) => continue,
                Err(ended) => return Some((Err(status(&ended)), (None, left))),
            };
        }
    }))
}

fn status(ended: &Ended) -> Status {
    match ended {
        Ended::Denied(_) => Status::unauthenticated(ended.to_string()),
        Ended::NotAudited(_) | Ended::Unreadable(_) | Ended::Stopping => Status::unavailable(ended.to_string()),
    }
}

fn gap(from: u64, until: u64) -> WatchEvent {
    let detail = format!("{{\"from\":{from},\"until\":{until}}}");
    WatchEvent { sequence: until, kind: "gap".to_owned(), detail, ..WatchEvent::default() }
}

fn message(event: &Event) -> WatchEvent {
    let unit = event.unit.as_ref().map(ToString::to_string).unwrap_or_default();
    let found = event.place.map(|at| proto::FoundUnit {
        unit: unit.clone(),
        organisation: event.organisation.as_ref().map(ToString::to_string).unwrap_or_default(),
        place: Some(proto::Place { lat_e7: at.lat_e7(), lon_e7: at.lon_e7() }),
        ..proto::FoundUnit::default()
    });
    WatchEvent {
        sequence: event.number,
        kind: event.kind.as_str().to_owned(),
        time_ms: event.time.unix_ms(),
        unit,
        zone: event.zone.as_ref().map(ToString::to_string).unwrap_or_default(),
        found,
        detail: event_body(event).get("detail").map(ToString::to_string).unwrap_or_default(),
    }
}
