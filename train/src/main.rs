//! `./build.sh train --engine native`: the whole job on a native adapter.

mod job;
mod options;
mod question;

use std::process::ExitCode;

use tabtune::error::Result;
use tabtune::gpu::{Adapter, Gpu};

use options::Options;

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
    let options = Options::parse(std::env::args().skip(1))?;
    let gpu = Gpu::open(&Adapter::request().await?).await?;
    job::run(options, gpu, &mut |line| println!("{line}")).await
}
