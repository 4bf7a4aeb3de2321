//! What is told of a reading, whose turn it is, and what a restart knows. The way through HTTP is among the tests of access.

use std::sync::Arc;
use std::time::Duration;

use model::{
    Clock as _, DeviceId, Heard, Position, PositionReport, Principal, Standing, StandingEnd, StandingFilter,
    StandingQuestion, Timestamp, Unit, UnitKind, UnitName, What, ZoneName,
};
use store::{By, StandingRecord};

use super::*;
use crate::Server;
use crate::config::{Config, Data};

async fn started(data: Data) -> Server {
    let config = Config { http: "127.0.0.1:0".parse().unwrap(), grpc: None, data, ..Config::default() };
    Server::start(&config).await.unwrap()
}

fn asked(question: StandingQuestion, now: Timestamp) -> Standing {
    let until = now.after(Duration::from_secs(3_600));
    Standing::new(Arc::new(Principal::local()), "robbery 12", now, until, question).unwrap()
}

fn near(metres: f64) -> StandingQuestion {
    let unit = |name| UnitName::new(name).unwrap();
    StandingQuestion::Near { unit: unit("a"), other: unit("b"), metres }
}

fn nearest(k: u32) -> StandingQuestion {
    let place = Position::from_degrees(22.817, 108.366).unwrap();
    StandingQuestion::Nearest { place, k, only: StandingFilter::default() }
}

/// Queries that nobody but the test looks at, and for a minute already.
fn standings(questions: Vec<StandingQuestion>, now: Timestamp) -> Standings {
    let standings = Standings::default();
    let record = |(number, question)| StandingRecord { number, standing: asked(question, now), ended: None };
    standings.take((1..).zip(questions).map(record).collect(), &HashMap::new(), now.shifted_ms(-60_000));
    standings
}

/// A car, `metres` north of the place that is asked for, heard now.
async fn put(server: &Server, name: &str, metres: f64) {
    put_kind(server, name, metres, UnitKind::Car).await;
}

async fn put_kind(server: &Server, name: &str, metres: f64, kind: UnitKind) {
    let (service, device) = (server.service(), DeviceId::of("test", name).unwrap());
    let unit = Unit { kind, ..Unit::named(UnitName::new(name).unwrap()) };
    service.engine.enrol(unit, std::slice::from_ref(&device)).unwrap();
    let at = Position::from_degrees(22.817 + metres / 110_750.0, 108.366).unwrap();
    let heard = Heard {
        binding: service.engine.resolve(&device).unwrap(),
        received: service.engine.live().now(),
        what: What::Report(PositionReport::at(at)),
    };
    service.engine.submit(vec![heard]).await.unwrap().await.unwrap();
}

/// One round with the answers it would tell, taken as told.
fn look(standings: &Standings, server: &Server, now: Timestamp) -> Vec<(u64, String)> {
    let round = standings.look(server.service(), now, Duration::from_secs(60));
    let tell = |change: Change| {
        let mut all = standings.all.lock();
        let query = all.by_number.get_mut(&change.number).unwrap();
        (query.told, query.turning) = (Some(change.answer.state), None);
        let word = |word: &str| change.answer.event.detail.iter().find(|(one, _)| one == word).map(|two| two.1.clone());
        (change.number, word("nearest").or_else(|| word("answer")).unwrap())
    };
    round.changes.into_iter().map(tell).collect()
}

fn told(pairs: &[(u64, &str)]) -> Vec<(u64, String)> {
    pairs.iter().map(|(number, answer)| (*number, (*answer).to_owned())).collect()
}

#[tokio::test]
async fn a_unit_comes_near_at_once_and_is_apart_only_well_beyond() {
    let server = started(Data::Off).await;
    let now = server.service().engine.live().now();
    let standings = standings(vec![near(300.0)], now);
    put(&server, "a", 0.0).await;
    assert_eq!(look(&standings, &server, now), told(&[]), "there is no other yet");
    for (metres, answer) in [(420.0, "apart"), (310.0, ""), (290.0, "near"), (350.0, ""), (370.0, "apart"), (310.0, "")]
    {
        put(&server, "b", metres).await;
        let expected = if answer.is_empty() { told(&[]) } else { told(&[(1, answer)]) };
        assert_eq!(look(&standings, &server, server.service().engine.live().now()), expected, "at {metres} m");
    }
    put(&server, "b", 200.0).await;
    let late = server.service().engine.live().now().after(Duration::from_secs(600));
    assert_eq!(look(&standings, &server, late), told(&[]), "an old place brings nobody near");
    assert_eq!(look(&standings, &server, server.service().engine.live().now()), told(&[(1, "near")]));
    server.stop().await;
}

#[tokio::test]
async fn the_nearest_are_others_when_they_are_it_for_two_looks() {
    let server = started(Data::Off).await;
    let now = server.service().engine.live().now();
    let standings = standings(vec![nearest(2)], now);
    for (name, metres) in [("a", 100.0), ("b", 200.0), ("c", 300.0)] {
        put(&server, name, metres).await;
    }
    put_kind(&server, "volunteer", 10.0, UnitKind::Community).await;
    let look = || look(&standings, &server, now);
    assert_eq!(look(), told(&[(1, "a b")]));
    put(&server, "c", 190.0).await;
    assert_eq!(look(), told(&[]), "once is not enough");
    put(&server, "c", 300.0).await;
    assert_eq!(look(), told(&[]), "it was so in one look only");
    put(&server, "c", 190.0).await;
    assert_eq!((look(), look(), look()), (told(&[]), told(&[(1, "a c")]), told(&[])));
    put(&server, "a", 195.0).await;
    assert_eq!((look(), look()), (told(&[]), told(&[(1, "c a")])), "the order counts");
    server.stop().await;
}

#[tokio::test]
async fn what_a_query_names_and_is_not_seen_for_a_while_ends_it() {
    let server = started(Data::Off).await;
    let now = server.service().engine.live().now();
    let zone = StandingQuestion::Strength { zone: ZoneName::new("nowhere").unwrap(), kinds: Vec::new(), fewer_than: 1 };
    let standings = standings(vec![near(300.0), zone, nearest(1)], now);
    put(&server, "a", 0.0).await;
    put_kind(&server, "b", 0.0, UnitKind::Community).await;
    let gone = |after_ms: i64| {
        let at = now.shifted_ms(after_ms - 60_000);
        standings.look(server.service(), at, Duration::from_secs(60)).gone
    };
    assert_eq!(gone(29_000), []);
    assert_eq!(gone(30_000), [(1, StandingEnd::UnitGone), (2, StandingEnd::ZoneGone)]);
    server.stop().await;
}

/// With time for one look a round, each has its turn.
#[tokio::test]
async fn those_that_had_no_turn_are_the_first_of_the_next_round() {
    let server = started(Data::Off).await;
    let now = server.service().engine.live().now();
    let standings = standings((1..=5).map(nearest).collect(), now);
    put(&server, "a", 0.0).await;
    let mut turns = Vec::new();
    for _ in 0..10 {
        let round = standings.look(server.service(), now, Duration::ZERO);
        turns.extend(round.changes.iter().map(|change| change.number));
    }
    assert_eq!(turns, [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]);
    assert_eq!(standings.figures.postponed.load(Ordering::Relaxed), 10 * 4);
    server.stop().await;
}

/// While not all units were heard, a zone is not said to have too few.
#[tokio::test]
async fn nothing_is_told_before_the_units_can_have_been_heard() {
    let server = started(Data::Off).await;
    let now = server.service().engine.live().now();
    let standings = standings(vec![nearest(1)], now);
    standings.all.lock().began = Some(now);
    assert_eq!(look(&standings, &server, now.shifted_ms(19_999)), told(&[]));
    assert_eq!(look(&standings, &server, now.shifted_ms(20_000)).len(), 1);
    server.stop().await;
}

/// All events of standing queries so far: number, kind, and the answer or why.
fn heard(server: &Server) -> Vec<(String, String)> {
    let page = server.service().engine.watch().unwrap().after(0).unwrap();
    let of_standing = page.events.iter().filter(|noted| noted.event.is_of_standing());
    let word = |event: &Event| {
        let mut detail = event.detail.iter();
        detail.find(|(word, _)| matches!(&**word, "answer" | "why")).map(|two| two.1.clone()).unwrap()
    };
    of_standing.map(|noted| (noted.event.kind.to_string(), word(&noted.event))).collect()
}

/// Rounds until `is_done`, as if nobody else made some.
async fn rounds(server: &Server, is_done: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !is_done() {
        assert!(std::time::Instant::now() < deadline, "it is told: {:?}", heard(server));
        let now = server.service().engine.live().now();
        server.service().standings.suppose_begun(now.shifted_ms(-60_000));
        server.service().look_at_standing(now, STANDING_BUDGET).await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// The answer that was told is not told again, the next one is, and an end is told once and then forgotten.
#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(Data::Folder(folder.path().to_owned())).await;
    let now = server.service().engine.live().now();
    put(&server, "a", 0.0).await;
    put(&server, "b", 100.0).await;
    let (local, store) = (Principal::local(), Arc::clone(&server.service().store));
    let by = By { principal: &local, now, reason: None };
    let number = store.add_standing(&by, &asked(near(300.0), now)).unwrap();
    rounds(&server, || !heard(&server).is_empty()).await;
    server.stop().await;
    drop(store);
    let server = started(Data::Folder(folder.path().to_owned())).await;
    put(&server, "a", 0.0).await;
    put(&server, "b", 101.0).await;
    let looks = |server: &Server| server.service().standings.figures.looks().map(|one| one.1).sum::<u64>();
    rounds(&server, || looks(&server) >= 3).await;
    assert_eq!(server.service().standings.told(number).as_deref(), Some("near"), "it is remembered");
    let pair = |kind: &str, word: &str| (kind.to_owned(), word.to_owned());
    assert_eq!(heard(&server), [pair("standing", "near")], "and not told again");
    server.service().store.delete_standing(&by, number).unwrap();
    rounds(&server, || server.service().store.standing().unwrap().is_empty()).await;
    assert_eq!(heard(&server), [pair("standing", "near"), pair("standing_ended", "deleted")]);
    server.stop().await;
}

/// Whatever its questions are, it ends at its time; nobody deletes it.
#[tokio::test]
async fn a_query_ends_by_itself_when_its_time_is_over() {
    let server = started(Data::Off).await;
    let clock = testkit::ManualClock::at(server.service().engine.live().now());
    let (local, store) = (Principal::local(), &server.service().store);
    let by = By { principal: &local, now: clock.now(), reason: None };
    store.add_standing(&by, &asked(nearest(1), clock.now())).unwrap();
    clock.advance(Duration::from_secs(3_599));
    server.service().look_at_standing(clock.now(), STANDING_BUDGET).await.unwrap();
    assert_eq!(store.standing().unwrap()[0].ended, None);
    clock.advance(Duration::from_secs(1));
    server.service().look_at_standing(clock.now(), STANDING_BUDGET).await.unwrap();
    rounds(&server, || store.standing().unwrap().is_empty()).await;
    let ended = ("standing_ended".to_owned(), "until".to_owned());
    assert_eq!(heard(&server).last(), Some(&ended));
    server.stop().await;
}
