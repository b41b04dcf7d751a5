//! `./build.sh train --engine native`: the whole job on a native adapter.

mod job;
mod options;
mod question;

use std::path::Path;
use std::process::ExitCode;

use tabtune::device::Device;
use tabtune::error::Result;

use options::Options;

/// The model and the rows that come with the project.
const BUNDLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../www");

fn main() -> ExitCode {
    match pollster::block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error[{}]: {error}", error.code.as_str());
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    // Every option is checked before anything is opened or read.
    let options = Options::parse(std::env::args().skip(1), Path::new(BUNDLED))?;
    let device = Device::open_as(options.device).await?;
    job::run(options, device, &mut |line| println!("{line}")).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_bundled() {
        let options = Options::parse(std::iter::empty(), Path::new(BUNDLED)).unwrap();
        assert!(options.model.join("model.safetensors").is_file() && options.data.is_file());
    }
}
