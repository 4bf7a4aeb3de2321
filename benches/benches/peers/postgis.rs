//! PostGIS: prepared statements over its own protocol, pipelined; a GiST index; an unlogged table without waiting for syncs,
//! and a logged one with.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use crate::peer::{AskStyle, FeedStyle, Peer, Started};
use crate::wire_pg::{self, array, bind, call, message, query, units};
use muster_benches::pipe::{Asker, Batch, Feed, Pipe, PipeAsker};
use muster_benches::process::{Process, find, folder, free_address};
use muster_benches::trace::{Report, Trace};

const UPDATES: FeedStyle = FeedStyle { label: "500 rows an update, pipelined", reports: 500, window: 4 };
const UPSERTS: FeedStyle = FeedStyle { label: "500 rows an upsert, pipelined", reports: 500, window: 4 };
/// Settings of a server that has the machine to itself.
const SETTINGS: [&str; 9] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "shared_buffers=1GB",
    "max_wal_size=4GB",
    "jit=off",
    "plan_cache_mode=force_generic_plan",
    "autovacuum_naptime=5s",
    "autovacuum_vacuum_cost_delay=0",
    "logging_collector=off",
];

struct PostGis {
    process: Rc<Process>,
    address: SocketAddr,
    is_durable: bool,
}

/// One server with both tables: first the fast one, then the durable one.
pub(crate) fn start() -> [Started; 2] {
    match launch() {
        Ok((process, address)) => {
            let process = Rc::new(process);
            [false, true].map(|is_durable| {
                Ok(Box::new(PostGis { process: Rc::clone(&process), address, is_durable }) as Box<dyn Peer>)
            })
        }
        Err(why) => [Err(why.clone()), Err(why)],
    }
}

fn launch() -> Result<(Process, SocketAddr), String> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    let missing = || "no `postgres`: apt-get install postgresql postgis postgresql-15-postgis-3".to_owned();
    let initdb = find("initdb", &folders).ok_or_else(missing)?;
    let postgres = find("postgres", &folders).ok_or_else(missing)?;
    let (folder, address) = (folder(), free_address());
    let data = folder.path().join("data");
    let made = as_nobody_special(Command::new(initdb), folder.path())?
        .args(["-A", "trust", "-U", "bench", "-E", "UTF8", "--locale=C", "-D"])
        .arg(&data)
        .stdout(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return Err("initdb failed".into());
    }
    let mut server = as_nobody_special(Command::new(postgres), folder.path())?;
    server.arg("-D").arg(&data).args(["-p", &address.port().to_string()]);
    SETTINGS.iter().for_each(|setting| {
        server.args(["-c", setting]);
    });
    let child = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.map_err(|error| format!("postgres does not start: {error}"))?;
    // Fast shutdown: sessions are ended, files are in order.
    let mut process = Process::of(child, "-INT", folder);
    process.wait_for(address);
    let mut session = wire_pg::connect(address, "");
    if let Err(why) = call(&mut session, &query("CREATE EXTENSION postgis")) {
        return Err(format!("no PostGIS in this PostgreSQL ({why}): apt-get install postgresql-15-postgis-3"));
    }
    for (name, kind) in [("fleet", "UNLOGGED TABLE"), ("fleet_durable", "TABLE")] {
        let columns = "id int PRIMARY KEY, place geometry(Point, 4326) NOT NULL";
        let table = format!("CREATE {kind} {name} ({columns}) WITH (fillfactor = 70)");
        let index = format!("CREATE INDEX ON {name} USING gist (place)");
        call(&mut session, &query(&table)).and_then(|_| call(&mut session, &query(&index)))?;
    }
    Ok((process, address))
}

/// PostgreSQL refuses to run as root: then the user that its package made runs it.
fn as_nobody_special(mut command: Command, folder: &Path) -> Result<Command, String> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    command.current_dir(folder);
    if is_root {
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let line = users.lines().find(|line| line.starts_with("postgres:"));
        let mut ids = line.into_iter().flat_map(|line| line.split(':').skip(2)).filter_map(|word| word.parse().ok());
        let (user, group): (u32, u32) =
            ids.next().zip(ids.next()).ok_or("root may not run PostgreSQL, and there is no user `postgres`")?;
        chown(folder, Some(user), Some(group)).map_err(|error| format!("chown: {error}"))?;
        command.uid(user).gid(group);
    }
    Ok(command)
}

impl PostGis {
    const fn table(&self) -> &'static str {
        if self.is_durable { "fleet_durable" } else { "fleet" }
    }

    /// A session with one prepared statement.
    fn session(&self, statement: &str) -> Pipe {
        let commit = if self.is_durable { "on" } else { "off" };
        let mut pipe = wire_pg::connect(self.address, &format!("-c synchronous_commit={commit}"));
        let mut parse = Vec::new();
        message(&mut parse, b'P', &[b"s\0", statement.as_bytes(), b"\0\0\0"].concat());
        message(&mut parse, b'S', &[]);
        call(&mut pipe, &parse).expect("the statement is right");
        pipe
    }

    fn vacuum(&self, words: &str) {
        let mut session = wire_pg::connect(self.address, "");
        call(&mut session, &query(&format!("{words} {}", self.table()))).expect("the table is there");
    }
}

impl Peer for PostGis {
    fn name(&self) -> &'static str {
        if self.is_durable { "postgis-durable" } else { "postgis" }
    }

    fn process(&self) -> &Process {
        &self.process
    }

    /// The table and its indexes, most of which are in the shared buffers; those belong to no process.
    fn memory_bytes(&self) -> u64 {
        let mut session = wire_pg::connect(self.address, "");
        let ask = query(&format!("SELECT pg_total_relation_size('{}')", self.table()));
        let reply = call(&mut session, &ask).expect("the table is there");
        wire_pg::text(&reply).and_then(|text| text.parse().ok()).expect("a size is a number")
    }

    fn feed_styles(&self) -> Vec<FeedStyle> {
        vec![UPDATES, UPSERTS]
    }

    fn feed(&self, style: FeedStyle, _: usize, rounds: &[Vec<Report>]) -> Feed {
        let table = self.table();
        let place = "ST_SetSRID(ST_MakePoint(lon, lat), 4326)";
        let reports = "unnest($1::int4[], $2::float8[], $3::float8[]) AS report (unit, lon, lat)";
        let statement = if style.label == UPDATES.label {
            format!("UPDATE {table} SET place = {place} FROM {reports} WHERE id = unit")
        } else {
            let conflict = "ON CONFLICT (id) DO UPDATE SET place = excluded.place";
            format!("INSERT INTO {table} SELECT unit, {place} FROM {reports} {conflict}")
        };
        let batch = |some: &[Report]| {
            let ids = array(23, some.iter().map(|(unit, _)| unit.to_be_bytes()));
            let lons = array(701, some.iter().map(|(_, place)| place.lon_deg().to_be_bytes()));
            let lats = array(701, some.iter().map(|(_, place)| place.lat_deg().to_be_bytes()));
            Batch { bytes: bind(&[&ids, &lons, &lats]), reports: some.len(), replies: 1 }
        };
        let batches = rounds.iter().flat_map(|round| round.chunks(style.reports)).map(batch).collect();
        Feed::new(self.session(&statement), batches, style.window, |out, batch, _| out.extend_from_slice(&batch.bytes))
    }

    fn ask_styles(&self) -> Vec<AskStyle> {
        let style = AskStyle { label: "GiST <-> LIMIT 10".into(), radius_m: 0.0, depth: 16 };
        if self.is_durable { Vec::new() } else { vec![style] }
    }

    fn asker(&self, _: &AskStyle, trace: &Trace) -> Box<dyn Asker> {
        let centre = "ST_SetSRID(ST_MakePoint($1::float8, $2::float8), 4326)";
        let statement = format!(
            "SELECT id, ST_DistanceSphere(place, {centre}) FROM {} ORDER BY place <-> {centre} LIMIT 10",
            self.table()
        );
        let question =
            |centre: &model::Position| bind(&[&centre.lon_deg().to_be_bytes()[..], &centre.lat_deg().to_be_bytes()]);
        let questions = trace.questions.iter().map(question).collect();
        Box::new(PipeAsker { pipe: self.session(&statement), questions, read: units })
    }

    fn settle(&mut self, _: &Trace) {
        self.vacuum("VACUUM ANALYZE");
    }

    /// What autovacuum would do later, on the time of the next server.
    fn rest(&self) {
        self.vacuum("VACUUM");
    }
}
