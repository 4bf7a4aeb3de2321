//! Generates the gRPC services over the message types of `wire`, whose answers are laid without a message, the clients for tests, and the
//! descriptor set for reflection.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let proto = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", proto.display());
    let descriptors =
        protox::compile(["muster/v1/ingest.proto", "muster/v1/query.proto", "muster/v1/zones.proto"], [&proto])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("muster.v1.descriptors"), descriptors.encode_to_vec())?;
    let clients = out.join("clients");
    std::fs::create_dir_all(&clients)?;
    let stubs = tonic_prost_build::configure().extern_path(".muster.v1", "::wire::proto");
    stubs.clone().build_server(false).out_dir(clients).compile_fds(descriptors.clone())?;
    let laid = "crate::grpc::laid::Laid";
    let answers = [".muster.v1.NearestResponse", ".muster.v1.WithinResponse"];
    let services = stubs.build_client(false).codec_path("crate::grpc::laid::Codec");
    answers.iter().fold(services, |services, answer| services.extern_path(answer, laid)).compile_fds(descriptors)?;
    Ok(())
}
