use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::authority::{Scene, ask_on, connect};
use crate::Server;

/// How often the certificates are changed.
const CHANGES: u64 = 8;
const CALLERS: usize = 4;

/// New connections and old ones go on while the files change: none fails, and new ones see the new certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_under_load_and_no_request_fails() {
    let scene = Scene::new();
    let server = Server::start(&scene.config(&[])).await.unwrap();
    let http = server.addresses().http;
    let (is_over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (tell, mut told) = mpsc::unbounded_channel();
    let caller = |_| {
        let (client, is_over, asked, tell) = (scene.client(None), is_over.clone(), asked.clone(), tell.clone());
        tokio::spawn(async move {
            let mut seen = BTreeSet::new();
            let mut kept = connect(http, &client).await.unwrap();
            while !is_over.load(Ordering::Relaxed) {
                let mut fresh = connect(http, &client).await.unwrap();
                seen.insert(fresh.get_ref().1.peer_certificates().unwrap()[0].to_vec());
                for stream in [&mut kept, &mut fresh] {
                    let answer = ask_on(stream, "GET /healthz HTTP/1.1", "").await.unwrap();
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                tell.send(()).unwrap();
            }
            seen
        })
    };
    let callers: Vec<_> = (0..CALLERS).map(caller).collect();
    for number in 0..CHANGES {
        // Each certificate serves a few.
        for _ in 0..2 * CALLERS {
            told.recv().await.unwrap();
        }
        scene.install(100 + number);
        server.service().tls.as_ref().unwrap().look();
        assert_eq!(server.service().alarms(), Vec::<&str>::new());
    }
    for _ in 0..2 * CALLERS {
        told.recv().await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    let mut seen = BTreeSet::new();
    for caller in callers {
        seen.extend(caller.await.unwrap());
    }
    assert_eq!(seen.len() as u64, CHANGES + 1, "every certificate served somebody");
    assert!(asked.load(Ordering::Relaxed) >= 2 * (CHANGES + 1));
    server.stop().await;
}

#[tokio::test]
async fn a_bad_new_pair_is_an_alarm_and_the_old_one_stays() {
    let scene = Scene::new();
    let server = Server::start(&scene.config(&[])).await.unwrap();
    let (http, client) = (server.addresses().http, scene.client(None));
    let tls = server.service().tls.clone().unwrap();
    let another = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for bad in ["", "no key at all", another.as_str()] {
        scene.write("server.key", bad);
        tls.look();
        let mut stream = connect(http, &client).await.expect("the old pair serves");
        let answer = ask_on(&mut stream, "GET /healthz HTTP/1.1", "").await.unwrap();
        assert!(answer.to_ascii_lowercase().contains("muster-alarm: certificate"), "{bad:?}: {answer}");
    }
    scene.install(2);
    tls.look();
    assert_eq!(server.service().alarms(), Vec::<&str>::new());
    server.stop().await;
}

#[tokio::test]
async fn a_server_does_not_start_with_a_pair_that_is_none() {
    let scene = Scene::new();
    scene.write("server.key", "no key");
    let error = Server::start(&scene.config(&[])).await.err().unwrap().to_string();
    assert!(error.starts_with("`tls_key`: ") && error.contains("server.key"), "{error}");
    scene.install(1);
    scene.write("ca.pem", "");
    let error = Server::start(&scene.config(&[])).await.err().unwrap().to_string();
    assert!(error.starts_with("`tls_client_ca`: ") && error.contains("holds no certificate"), "{error}");
}

/// The alarm comes two weeks before the end, and goes with the next certificate.
#[tokio::test]
async fn a_certificate_that_ends_soon_is_an_alarm_until_the_next_one_is_there() {
    let scene = Scene::new();
    scene.install_until(2, 2020);
    let server = Server::start(&scene.config(&[])).await.unwrap();
    assert_eq!(server.service().alarms(), ["certificate_expiring"]);
    let tls = server.service().tls.as_ref().unwrap();
    scene.install(3);
    tls.look();
    assert_eq!(server.service().alarms(), Vec::<&str>::new());
    let ends = model::Timestamp::from_rfc3339("2031-01-01T00:00:00Z").unwrap();
    scene.install_until(4, 2031);
    tls.look();
    let two_weeks_ms = 14 * 86_400_000;
    assert!(tls.ends_soon(ends.shifted_ms(-two_weeks_ms)) && !tls.ends_soon(ends.shifted_ms(-two_weeks_ms - 1)));
    server.stop().await;
}
