//! Generates the message types of `proto/muster/v1`, without `protoc`.

use std::env;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let proto = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", proto.display());
    let descriptors =
        protox::compile(["muster/v1/ingest.proto", "muster/v1/query.proto", "muster/v1/zones.proto"], [&proto])?;
    // `server` makes the services over these same types and the file descriptor set for reflection.
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
