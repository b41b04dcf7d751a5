//! `./build.sh train --engine native`: the whole job on a native adapter. `./build.sh export`: its result as other
//! programs read it.

mod export;
mod job;
mod options;
mod question;

use std::path::Path;
use std::process::ExitCode;

use tabtune::device::Device;
use tabtune::error::Result;

use export::ExportJob;
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
    let mut arguments = std::env::args().skip(1).peekable();
    let mut say = |line| println!("{line}");
    if arguments.next_if(|argument| argument == "export").is_some() {
        return ExportJob::parse(arguments)?.run(&mut say).await;
    }
    let options = Options::parse(arguments, Path::new(BUNDLED))?;
    let device = Device::open_as(options.device).await?;
    job::run(options, device, &mut say).await
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
