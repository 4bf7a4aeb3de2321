//! Every limit of Muster and its default, in one place. What is over a limit is refused with the
//! limit's name, and counted; configuration keys of the same name change those that may change.

use std::time::Duration;

/// Longest frame of a device protocol, in bytes.
pub const DEVICE_FRAME_BYTES_MAX: usize = 4 * 1024;
/// Longest frame of the `muster` protocol, in bytes.
pub const MUSTER_FRAME_BYTES_MAX: usize = 256 * 1024;
/// Most reports in one `muster` batch.
pub const BATCH_REPORTS_MAX: usize = 4_096;
/// Most reports and contacts that a listener hands to the engine as one batch.
pub const ENGINE_BATCH_MAX: usize = 2 * BATCH_REPORTS_MAX;
/// Largest JSON body, in bytes.
pub const JSON_BYTES_MAX: usize = 1024 * 1024;
/// Largest gRPC message, in bytes.
pub const GRPC_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that a gRPC stream may send ahead of being read.
pub const GRPC_STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes that all streams of a gRPC connection together may send ahead.
pub const GRPC_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Most gRPC calls of one connection at once.
pub const GRPC_STREAMS_MAX: u32 = 1_024;
/// A gRPC connection that is silent for so long is asked for a sign of life.
pub const GRPC_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// One that gives none for so long is closed.
pub const GRPC_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest device, unit or organisation name, in bytes.
pub const NAME_BYTES_MAX: usize = 96;
/// Most different capability words in one server.
pub const CAPABILITIES_MAX: usize = 64;
/// Most points in a polygon, holes included.
pub const ZONE_POINTS_MAX: usize = 10_000;
/// Most features on one page of an answer.
pub const PAGE_FEATURES_MAX: usize = 1_000;
/// Most words in one list of a filter: kinds, statuses, organisations, capabilities, includes.
pub const FILTER_WORDS_MAX: usize = 64;
/// Most points of all zones on one page of a list; a zone that has more has a page of its own.
pub const PAGE_POINTS_MAX: usize = 10 * ZONE_POINTS_MAX;
/// Most units that one nearest query may ask for.
pub const NEAREST_K_MAX: usize = 1_000;
/// Most units that one journal ever takes, retired ones among them, as numbers are not used again; a new unit beyond it is
/// refused.
pub const UNITS_MAX: usize = 4_000_000;
/// Devices whose own place is shown beside that of their unit; their numbers are not used again. From this one on only the unit's place is.
pub const DEVICES_SHOWN_MAX: usize = 2 * UNITS_MAX;
/// Most devices of one unit whose places are remembered beside each other; with one more the one with the oldest place is forgotten.
pub const SOURCES_PER_UNIT_MAX: usize = 16;
/// The place of a volunteer's unit is forgotten once it is older than this.
pub const COMMUNITY_KEPT: Duration = Duration::from_secs(72 * 3_600);
/// Most places that are forgotten at once; the rest goes with the next look, a minute later.
pub const FORGOTTEN_AT_ONCE_MAX: usize = 4_096;
/// Sources of a unit that are farther apart than this, and their accuracies, are split: metres.
pub const SPLIT_M: f64 = 100.0;
/// For so long they must be, or be no more, by the times of their places.
pub const SPLIT_TIME: Duration = Duration::from_secs(30);
/// Most connections of one listener.
pub const CONNECTIONS_MAX: usize = 8_000;
/// Most device names that one connection may introduce by columnar batches; the stream ends with one more.
pub const SESSION_DEVICES_MAX: usize = 65_536;
/// Gateways that are known at once; one more is served and not watched.
pub const GATEWAYS_MAX: usize = 4_096;
/// A gateway is lost after so many of its learned intervals without a frame.
pub const GATEWAY_INTERVALS_MAX: u32 = 8;
/// But not before it was silent for so long.
pub const GATEWAY_SILENCE_MIN: Duration = Duration::from_secs(2);
/// A gateway without a connection is lost after so long.
pub const GATEWAY_AWAY_MAX: Duration = Duration::from_secs(1);
/// Requests a second of one principal.
pub const REQUESTS_PER_S: u32 = 2_000;
/// So many times as many of those that are urgent.
pub const URGENT_SHARE: u32 = 10;
/// Principals whose requests are counted at once; beyond it those that are silent are forgotten.
pub const PACED_PRINCIPALS_MAX: usize = 10_000;
/// Fixes a second that a device may bring, sustained, where it is limited.
pub const DEVICE_FIXES_PER_S: u32 = 20;
/// Fixes that it may bring at once.
pub const DEVICE_FIXES_BURST: u32 = 200;
/// Most networks in the allow-list of one listener.
pub const LISTENER_NETWORKS_MAX: usize = 64;
/// Most devices, or beginnings of their names, in the allow-list of one listener.
pub const LISTENER_DEVICES_MAX: usize = 1_024;
/// Most answers that one connection may wait for before its socket is no longer read.
pub const UNSETTLED_FRAMES_MAX: usize = 256;
/// Batches that may wait for each shard of the engine; beyond it TCP sockets are not read and datagrams are dropped and counted.
pub const ENGINE_QUEUE_BATCHES_MAX: usize = 1_024;
/// Most shards of live state, each with a writer of its own.
pub const SHARDS_MAX: usize = 64;
/// Empty batches whose memory is kept for those to come.
pub const BATCH_BUFFERS_MAX: usize = 64;
/// Devices that a second session speaks for and that are listed at once; more are counted only.
pub const SECOND_SESSIONS_MAX: usize = 16_384;
/// Senders that a UDP listener remembers at once.
pub const UDP_SESSIONS_MAX: usize = 65_536;
/// When they are so many, silent ones are looked for no more often than this.
pub const UDP_SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Senders whose frame numbers are remembered at once, over all UDP listeners; beyond it the one heard longest ago is
/// forgotten and that is counted.
pub const GAP_SENDERS_MAX: usize = 65_536;
/// Most senders in one answer about gaps.
pub const GAPS_SHOWN_MAX: usize = 1_000;
/// How long a new connection may take to complete its first frame.
pub const FIRST_FRAME_DEADLINE: Duration = Duration::from_secs(10);
/// How long a connection may be silent, or may leave our answers unread.
pub const IDLE_DEADLINE: Duration = Duration::from_secs(120);
/// How far ahead of the clock a fix may be dated before it is flagged and ordered by its receipt.
pub const FUTURE_TOLERANCE: Duration = Duration::from_secs(60);
/// How long a peer whose stream cannot be followed may take to read why, and to close.
pub const LAST_WORD_LINGER: Duration = Duration::from_secs(1);
/// Nearest queries: 99 of 100 ought to be answered within this.
pub const NEAREST_OBJECTIVE: Duration = Duration::from_millis(5);
/// Zone and within queries: 99 of 100 ought to be answered within this.
pub const WITHIN_OBJECTIVE: Duration = Duration::from_millis(10);
/// Nearest queries: out of time after this.
pub const NEAREST_DEADLINE: Duration = Duration::from_millis(100);
/// Zone and within queries: out of time after this.
pub const WITHIN_DEADLINE: Duration = Duration::from_millis(250);
/// Longest deadline that a caller may set with `Muster-Deadline-Ms`.
pub const DEADLINE_MAX: Duration = Duration::from_secs(10);
/// Most seats for searches that may be configured.
pub const QUERY_SEATS_MAX: usize = 1_024;
/// Seats that only dispatch and emergencies may use, and as many again only for emergencies.
pub const RESERVED_SEATS: usize = 1;
/// A dispatch query is refused when so many wait in its lane and before it. Emergencies wait without a limit of their own:
/// each is an open request.
pub const DISPATCH_WAITING_MAX: usize = 1_024;
/// A map query is refused when so many wait in its lane and before it.
pub const MAP_WAITING_MAX: usize = 256;
/// A bulk query is refused when so many wait in its lane and before it.
pub const BULK_WAITING_MAX: usize = 32;
/// Degraded searches at once.
pub const DEGRADED_SEATS: usize = 1;
/// Units that one step of a degraded search may look at.
pub const DEGRADED_UNITS_MAX: u64 = 1_024;
/// Questions of one stream that are read ahead of their answers; the clock of each runs from then on.
pub const STREAM_QUESTIONS_MAX: usize = 1_024;
/// Active emergencies kept at once; they are few, and never dropped below this.
pub const EMERGENCIES_MAX: usize = 10_000;
/// Most devices in one change of a unit; more come with further changes.
pub const DEVICES_PER_CHANGE_MAX: usize = 64;
/// Fewest bytes of a journal segment: the largest change of a unit fits in a quarter of one.
pub const JOURNAL_SEGMENT_BYTES_MIN: u32 = 64 << 10;
/// Bytes of a journal segment, reserved before it is used.
pub const JOURNAL_SEGMENT_BYTES: u32 = 64 << 20;
/// How long the first entry of a group commit may wait for others.
pub const JOURNAL_GROUP_TIME: Duration = Duration::from_micros(500);
/// A group commit of so many bytes does not wait.
pub const JOURNAL_GROUP_BYTES: usize = 1 << 20;
/// Bytes that may wait for a slow disk before ingestion waits too.
pub const JOURNAL_UNSYNCED_BYTES_MAX: usize = 64 << 20;
/// Closed segments are removed, oldest first, beyond so many bytes.
pub const JOURNAL_RETAIN_BYTES: u64 = 16 << 30;
/// Closed segments are removed after so long.
pub const JOURNAL_RETAIN_TIME: Duration = Duration::from_secs(72 * 3_600);
/// A snapshot is made once so many bytes were closed since the last one.
pub const SNAPSHOT_EVERY_BYTES: u64 = 256 << 20;
/// Changes of the roster and emergencies that may wait for the journal; a change of a unit beyond it is refused. Units that are
/// taken off and emergencies are let in beyond it: each is there once.
pub const PENDING_CHANGES_MAX: usize = 1 << 20;
/// Largest detail of one row of the audit, as JSON text, in bytes; a longer one is replaced by its length and digest.
pub const AUDIT_DETAIL_BYTES_MAX: usize = 4 * 1024;
/// Longest name of what a row of the audit is about, in bytes; a longer one is cut.
pub const AUDIT_RESOURCE_BYTES_MAX: usize = 512;
/// Longest reason that a principal may give for a change, in bytes.
pub const REASON_BYTES_MAX: usize = 1_024;
/// Most units in one row of the audit; a look at more makes several rows.
pub const LOOK_UNITS_MAX: usize = 1_000;
/// Most rows of the audit that one question returns.
pub const AUDIT_PAGE_ROWS_MAX: usize = 1_000;
/// Most rows of the audit that one question looks at; it says where to go on.
pub const AUDIT_SCAN_ROWS_MAX: u64 = 1_000_000;
/// Most rows of the audit that one call removes.
pub const AUDIT_EXPIRE_ROWS_MAX: u64 = 100_000;
/// Rows of the audit are removed after so long.
pub const AUDIT_RETAIN_TIME: Duration = Duration::from_secs(400 * 86_400);
/// The head of the audit is kept anew after so many looks, if nothing else was audited.
pub const AUDIT_HEAD_ROWS: u64 = 10_000;
/// The head of the audit is kept anew with the first look after so long, if nothing else was audited.
pub const AUDIT_HEAD_TIME: Duration = Duration::from_secs(3_600);
/// How long a change waits for one of another process, such as the command line beside a server.
pub const STORE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest life of a token.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(400 * 86_400);
/// Life of the token that an empty store makes for its first administrator.
pub const BOOTSTRAP_TOKEN_LIFE: Duration = Duration::from_secs(86_400);
/// Most organisations above each other.
pub const ORGANISATION_DEPTH_MAX: usize = 16;
/// Most points in the territory of one organisation.
pub const TERRITORY_POINTS_MAX: usize = ZONE_POINTS_MAX;
/// Longest call sign, label, zone name or name in another system, in bytes.
pub const LABEL_BYTES_MAX: usize = 256;
/// Most entries in one list of a unit's record: capabilities, names elsewhere, devices, crew.
pub const RECORD_LIST_MAX: usize = 256;
/// Largest file of units or organisations that is imported, in bytes.
pub const IMPORT_BYTES_MAX: usize = 32 << 20;
/// Metres beyond the borders of its ground that an organisation sees.
pub const BORDER_STRIP_M: f64 = 2_000.0;
/// An emergency shows its unit to those whose ground is no more metres away.
pub const EMERGENCY_SIGHT_M: f64 = 5_000.0;
/// Tokens that were shown lately and need not be looked up again.
pub const TOKENS_KNOWN_MAX: usize = 10_000;
/// A revoked token opens nothing any more after so long.
pub const TOKENS_LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Sessions of browsers that are open at once; a log-on beyond it is refused.
pub const SESSIONS_MAX: usize = 10_000;
/// A session ends after so long, or with its token.
pub const SESSION_LIFE: Duration = Duration::from_secs(12 * 3_600);
/// Looks and records that may wait for the audit; answers wait beyond it.
pub const AUDIT_QUEUE_MAX: usize = 4_096;
/// Looks and records of one transaction.
pub const AUDIT_AT_ONCE: usize = 1_024;
/// Most organisations of one store.
pub const ORGANISATIONS_MAX: usize = 10_000;
/// Longest source, assignment or idempotency key of a change of status or assignment, in bytes.
pub const DETAIL_NAME_BYTES_MAX: usize = 128;
/// A change of status or assignment with the same idempotency key is one change for so long.
pub const CHANGE_KEYS_KEPT: Duration = Duration::from_secs(72 * 3_600);
/// Who broke the glass sees all for so long.
pub const GLASS_OPEN_TIME: Duration = Duration::from_secs(30 * 60);
/// A unit is lent to the sight of another organisation for so long at most; whoever needs it longer lends it again.
pub const SIGHT_TIME_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Shortest reason for breaking the glass, in bytes.
pub const GLASS_REASON_BYTES_MIN: usize = 10;
/// Principals whose broken glass is remembered; beyond it those that ended are forgotten.
pub const GLASS_KEPT_MAX: usize = 10_000;
/// Devices that no unit carries and that are listed at once; more are counted only.
pub const QUARANTINE_DEVICES_MAX: usize = 65_536;
/// The end of the server's certificate is an alarm so long before.
pub const CERTIFICATE_ENDS_SOON: Duration = Duration::from_secs(14 * 86_400);
/// Statuses of terminals that wait for the store at once; one more is refused and counted.
pub const TERMINAL_STATUSES_WAITING_MAX: usize = 1_024;
/// TLS handshakes of one listener that are open at once; with one more the oldest is cut.
pub const TLS_HANDSHAKES_MAX: usize = 1_024;
/// How long a TLS handshake may take.
pub const TLS_HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// How often files of certificates and of revocations are looked at.
pub const TLS_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How often the certificates of open connections are checked anew, besides when a file changes.
pub const TLS_RECHECK_INTERVAL: Duration = Duration::from_secs(30);
/// Longest file of certificates, a key or revocations, in bytes.
pub const TLS_FILE_BYTES_MAX: u64 = 8 << 20;
/// Longest signed token of an identity provider, in bytes.
pub const JWT_BYTES_MAX: usize = 4_096;
/// How long before its time a signed token holds, because two clocks differ.
pub const JWT_NOT_BEFORE_LEEWAY: Duration = Duration::from_secs(30);
/// Longest file of the keys of an identity provider, in bytes.
pub const JWKS_BYTES_MAX: u64 = 256 * 1024;
/// Most keys in it.
pub const JWKS_KEYS_MAX: usize = 64;
/// Lowest layer of zones.
pub const ZONE_LAYER_MAX: u8 = 99;
/// Most zones of one server that are in force at once.
pub const ZONES_MAX: usize = 200_000;
/// Metres beyond the border of a zone at which a unit may have crossed it, where the zone does not say.
pub const ZONE_MARGIN_M: f32 = 25.0;
/// Seconds that it must be so, where the zone does not say.
pub const ZONE_SETTLE_S: u32 = 30;
/// Most minimums of strength of one zone, and most hours of one of them.
pub const ZONE_MINIMUMS_MAX: usize = 64;
/// Most H3 cells of one zone.
pub const ZONE_CELLS_MAX: usize = ZONE_POINTS_MAX;
/// Most metres of a margin beyond a border.
pub const ZONE_MARGIN_M_MAX: f32 = 10_000.0;
/// Longest time that a zone may name to settle, dwell or stay, in seconds: a week.
pub const ZONE_TIME_S_MAX: u32 = 7 * 86_400;
/// Most minutes that a local clock is ahead of UTC, or behind it.
pub const UTC_OFFSET_MIN_MAX: i16 = 18 * 60;
/// Most H3 cells that the cells of one zone come to, all brought to the finest of their resolutions.
pub const ZONE_FINE_CELLS_MAX: u64 = 100_000;
/// Places of units that may wait for the watcher of zones; beyond it they are counted, and it looks at every unit anew.
pub const WATCH_WAITING_MAX: usize = 1 << 20;
/// Batches of them, and other messages, that may wait for it.
pub const WATCH_QUEUE_MAX: usize = 16_384;
/// Newest events that are kept at hand.
pub const EVENTS_RECENT_MAX: usize = 65_536;
/// Events that one step of a listener takes.
pub const EVENTS_PAGE_MAX: usize = 1_000;
/// Events are removed after so long.
pub const EVENTS_RETAIN_TIME: Duration = Duration::from_secs(90 * 86_400);
/// The oldest events are removed while all of them take more bytes.
pub const EVENTS_RETAIN_BYTES: u64 = 4 << 30;
/// Entries of the journal that the watcher may be behind at a start; beyond it what lies between is told as a gap.
pub const WATCH_BEHIND_MAX: u64 = 1 << 20;
/// For so long after a start nobody is told that a zone has too few units: they have not all been heard yet.
pub const STRENGTH_GRACE: Duration = Duration::from_secs(20);
/// Listeners to events at once, over SSE and gRPC together.
pub const LISTENERS_MAX: usize = 16_384;
/// A button that was cleared and is heard pressed again after so long a silence is a new emergency.
pub const EMERGENCY_RELEASE_AFTER: Duration = Duration::from_secs(600);
/// Most webhooks of one server.
pub const WEBHOOKS_MAX: usize = 256;
/// Longest URL of a webhook, in bytes.
pub const WEBHOOK_URL_BYTES_MAX: usize = 2_048;
/// Shortest secret of a webhook, in bytes.
pub const WEBHOOK_SECRET_BYTES_MIN: usize = 16;
/// Longest secret of a webhook, in bytes.
pub const WEBHOOK_SECRET_BYTES_MAX: usize = 256;
/// Most events of one POST of a webhook.
pub const WEBHOOK_EVENTS_MAX: usize = 100;
/// Most ranges of events in the dead-letter list of one webhook; with one more the oldest is forgotten and that is counted.
pub const WEBHOOK_DEAD_MAX: usize = 1_000;
/// How long one POST of a webhook may take in all, name look-up and handshake included.
pub const WEBHOOK_POST_DEADLINE: Duration = Duration::from_secs(10);
/// How long its look-up of the name, its connection and its handshake may take together.
pub const WEBHOOK_CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of an answer to a webhook that are read, and dropped, before the connection is closed.
pub const WEBHOOK_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Longest wait between two tries of a webhook.
pub const WEBHOOK_WAIT_MAX: Duration = Duration::from_secs(300);
/// What could not be delivered for so long goes to the dead-letter list.
pub const WEBHOOK_GIVE_UP: Duration = Duration::from_secs(86_400);
/// Standing queries of one server at once.
pub const STANDING_MAX: usize = 1_000;
/// Of one organisation, so that none takes the room of the others; who asks for the whole has all of it.
pub const STANDING_PER_ORGANISATION_MAX: usize = 200;
/// Longest life of a standing query.
pub const STANDING_LIFE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Most units that a standing query for the nearest follows.
pub const STANDING_K_MAX: u32 = 20;
/// Most units that a standing query may want in a zone.
pub const STANDING_COUNT_MAX: u32 = 10_000;
/// Longest distance of a standing query of two units, in metres.
pub const STANDING_NEAR_M_MAX: f64 = 50_000.0;
/// Two units that were near are apart when they are so many times the distance from each other.
pub const STANDING_APART: f64 = 1.2;
/// Time of one core that standing queries may take in a second; those that had no turn are the first of the next.
pub const STANDING_BUDGET: Duration = Duration::from_millis(50);
/// A single one that takes longer has no answer, and is counted.
pub const STANDING_DEADLINE: Duration = Duration::from_millis(20);
/// A standing query ends when a unit or zone that it names is not seen for so long.
pub const STANDING_GONE_TIME: Duration = Duration::from_secs(30);
/// A session of a device that is silent for so long may lose it to another one; longer where it reports less often.
pub const TAKEOVER_SILENCE: Duration = Duration::from_secs(15);
