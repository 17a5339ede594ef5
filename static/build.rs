//! Makes the widget small for its readers: `static/widget.js` and `static/widget/*.js`, which run as they are, go into the
//! binary without what only their maintainers need.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use oxc_allocator::Allocator;
use oxc_codegen::{Codegen, CodegenOptions, CommentOptions};
use oxc_minifier::{Minifier, MinifierOptions};
use oxc_parser::Parser;
use oxc_span::SourceType;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=static");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::create_dir_all(out.join("widget"))?;
    write(Path::new("static/widget.js"), SourceType::script(), &out.join("widget.js"))?;
    for file in fs::read_dir("static/widget")? {
        let file = file?.path();
        if let (Some(name), true) = (file.file_name(), file.extension() == Some("js".as_ref())) {
            write(&file, SourceType::mjs(), &out.join("widget").join(name))?;
        }
    }
    Ok(())
}

/// # Errors
///
/// The file cannot be read or written, or its syntax is wrong; the message names it.
fn write(from: &Path, kind: SourceType, to: &Path) -> Result<(), Box<dyn Error>> {
    let source = fs::read_to_string(from)?;
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, &source, kind).parse();
    if let Some(wrong) = parsed.diagnostics.first() {
        return Err(format!("{}: {wrong}", from.display()).into());
    }
    let mut program = parsed.program;
    let minified = Minifier::new(MinifierOptions::default()).minify(&allocator, &mut program);
    let options =
        CodegenOptions { minify: true, comments: CommentOptions::disabled(), ..CodegenOptions::default() };
    let code = Codegen::new()
        .with_options(options)
        .with_scoping(minified.scoping)
        .with_private_member_mappings(minified.class_private_mappings)
        .build(&program)
        .code;
    Ok(fs::write(to, code)?)
}
