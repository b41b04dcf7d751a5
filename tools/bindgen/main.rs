//! `tabtune-bindgen MODULE.wasm FOLDER NAME`: writes the module's JavaScript and declarations for browsers.
//!
//! The program `wasm-bindgen` would do, but it has to be installed in the very release that Cargo.lock names, with
//! a test runner and a web server that take longer to compile than all the rest.

use std::env;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [module, folder, name] = args.as_slice() else {
        return Err("usage: tabtune-bindgen MODULE.wasm FOLDER NAME".into());
    };
    Bindgen::new()
        .input_path(module)
        .out_name(name)
        .web(true)?
        .typescript(true)
        // Without it the module's address has to be given at every start.
        .omit_default_module_path(false)
        .generate(folder)?;
    Ok(())
}
