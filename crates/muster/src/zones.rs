use std::path::PathBuf;

use anyhow::{anyhow, ensure};
use clap::{Args, Subcommand, ValueEnum};
use geodesy::Datum;
use model::{Principal, Timestamp};
use server::Earth;
use store::exchange::{parse_zones_json, parse_zones_kml, write_zones_json};

use crate::stored::{At, Why, content, now, output, time};
use crate::units::{exported, of};

/// Bring zones into the store, or take them out
#[derive(Args)]
pub(crate) struct Zones {
    #[command(subcommand)]
    task: ZonesTask,
}

/// The format of a file of zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ZoneFormat {
    /// A GeoJSON FeatureCollection
    Geojson,
    /// KML: Placemarks with polygons, or with a point and radius_m
    Kml,
}

#[derive(Subcommand)]
enum ZonesTask {
    /// Put the zones of a file into force, all of them or, with one fault, none. The fault is named by line and column
    #[command(
        after_help = "GeoJSON: a FeatureCollection with the member `datum` (or --datum), longitude before latitude. A zone is a Polygon, a\n\
    MultiPolygon, a Point with `radius_m`, or null with `h3_cells`; its properties are zone, label, layer, org, hours\n\
    ([\"mon-fri 07:00-19:00\"]), utc_offset (\"+08:00\"), minimum ([{\"kinds\":[\"car\"],\"hours\":[],\"at_least\":2}]),\n\
    settle ({\"margin_m\":25,\"time_s\":30}), dwell_s, stay_s_max, valid_from, valid_until; zone and layer must be there.\n\
    KML: the same as Data of a Placemark, lists written as in JSON. KML cannot say its datum: give --datum.\n\
    Zones that are not in the file stay as they are; the past of those that are stays written. A running server follows\n\
    within a second.\n\n\
    Example:  muster zones import beats.geojson --datum gcj02 --reason 'new borders'"
    )]
    Import {
        /// The file, or - for the standard input
        file: PathBuf,
        /// wgs84, gcj02 or bd09: of the coordinates, where the file does not say it
        #[arg(long)]
        datum: Option<Datum>,
        /// geojson or kml; the name of the file says it otherwise
        #[arg(long)]
        format: Option<ZoneFormat>,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        at: At,
    },
    /// Write the zones in force as GeoJSON in WGS-84; what is written can be imported again. The audit says so
    Export {
        /// A new file; the standard output without it
        #[arg(value_name = "FILE")]
        to: Option<PathBuf>,
        /// As they were, or will be, at this time
        #[arg(long, value_name = "TIME", value_parser = time)]
        as_of: Option<Timestamp>,
        #[command(flatten)]
        at: At,
    },
}

impl Zones {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.task {
            ZonesTask::Import { file, datum, format, why, at } => {
                let told = datum.map(Datum::as_str);
                let rows = match format.unwrap_or_else(|| ZoneFormat::of(&file)) {
                    ZoneFormat::Geojson => parse_zones_json(&content(&file)?, told, &Earth),
                    ZoneFormat::Kml => {
                        let told =
                            told.ok_or_else(|| anyhow!("KML cannot say its datum: give --datum; nothing is changed"))?;
                        parse_zones_kml(&content(&file)?, told, &Earth)
                    }
                };
                let rows = rows.map_err(|error| of(&file, &error))?;
                let imported = at.open_or_make()?.import_zones(&why.by(&Principal::local()), &rows)?;
                println!("{} zones changed, {} unchanged", imported.changed, imported.unchanged);
                Ok(())
            }
            ZonesTask::Export { to, as_of, at } => {
                ensure!(to.as_deref() != Some("-".as_ref()), "leave the file away for the standard output");
                let store = at.open()?;
                let zones = store.zones(as_of.unwrap_or_else(now))?;
                exported(&store, "zones.export", zones.len())?;
                let mut out = output(to.as_deref())?;
                write_zones_json(zones.iter().map(|one| (&one.zone, one.effective)), &mut out)?;
                Ok(out.flush()?)
            }
        }
    }
}

impl ZoneFormat {
    fn of(file: &std::path::Path) -> Self {
        let is_kml = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("kml"));
        if is_kml { Self::Kml } else { Self::Geojson }
    }
}
