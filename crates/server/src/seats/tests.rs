use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use model::Timestamp;
use testkit::ManualClock;

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

fn seats() -> (Arc<Seats>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_795_000_000_000).unwrap()));
    let mut config = ContractConfig::default();
    config.lay(&crate::config::Settings { query_seats: Some(1), ..Default::default() }).unwrap();
    (Arc::new(Seats::new(&config, Arc::clone(&clock) as Arc<dyn Clock>)), clock)
}

fn asked(seats: &Seats, lane: Lane) -> Request {
    Request { class: Class::Nearest, lane, read_at: seats.now(), deadline: PATIENCE }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_query_whose_deadline_passes_in_the_queue_gets_no_seat() {
    let (seats, clock) = seats();
    let held = seats.take(asked(&seats, Lane::Map)).await.ok().unwrap();
    let mut late = pin!(seats.take(asked(&seats, Lane::Map)));
    assert!(poll(late.as_mut()).is_pending());
    clock.advance(PATIENCE);
    drop(held);
    assert!(matches!(poll(late.as_mut()), Poll::Ready(Err(NoSeat::Late))));
    assert_eq!(seats.taken(), (0, [0; 4]));
}

#[tokio::test]
async fn the_seat_of_a_caller_who_has_gone_goes_to_the_next() {
    let (seats, _) = seats();
    let held = seats.take(asked(&seats, Lane::Map)).await.ok().unwrap();
    let mut next = pin!(seats.take(asked(&seats, Lane::Map)));
    {
        let (mut gone, mut called) =
            (pin!(seats.take(asked(&seats, Lane::Map))), pin!(seats.take(asked(&seats, Lane::Map))));
        assert!(poll(gone.as_mut()).is_pending() && poll(called.as_mut()).is_pending());
        assert!(poll(next.as_mut()).is_pending());
        assert_eq!(seats.taken(), (1, [0, 0, 3, 0]));
        drop(held);
        // The first of them has been called, does not know it yet, and goes.
        assert_eq!(seats.taken(), (1, [0, 0, 2, 0]));
    }
    let seat = poll(next.as_mut());
    assert!(matches!(seat, Poll::Ready(Ok(_))), "it was called when both had gone");
    assert_eq!(seats.taken(), (1, [0, 0, 0, 0]));
    drop(seat);
    assert_eq!(seats.taken(), (0, [0, 0, 0, 0]));
}
