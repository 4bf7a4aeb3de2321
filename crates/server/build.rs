//! Generates the gRPC services over the message types of `wire`, and the descriptor set for reflection.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let proto = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", proto.display());
    let descriptors = protox::compile(["muster/v1/ingest.proto", "muster/v1/query.proto"], [&proto])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("muster.v1.descriptors"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().extern_path(".muster.v1", "::wire::proto").compile_fds(descriptors)?;
    Ok(())
}
