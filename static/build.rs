//! Squeezes the widget for its readers: `static/widget.js` and `static/widget/*.js` go into the binary without
//! comments, white space and long local names.
//!
//! Authors need no build step: the files in `static/` are plain ES modules that run, are checked and are tested
//! as they are written. Only the copy inside the binary is squeezed, here, so `cargo build` needs no Node.
//!
//! Squeezing is worth this script because the readers of a site download the widget, and plain gzip would have
//! them download 24.2 kB instead of 15.0 kB. The price is a parser and a minifier (oxc): about 90 s of CPU time
//! in a cold build. The demo page is served as it is written, for people who want to read its source.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use oxc_allocator::Allocator;
use oxc_codegen::{Codegen, CodegenOptions, CommentOptions};
use oxc_minifier::{Minifier, MinifierOptions};
use oxc_parser::Parser;
use oxc_span::SourceType;

use squeeze_css::squeeze_css;

mod squeeze_css;

/// Begins a template of CSS in a module, as the module's tag `css` and as Prettier know it.
const CSS_TAG: &str = " css`";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=static");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::create_dir_all(out.join("widget"))?;
    write_squeezed(Path::new("static/widget.js"), SourceType::script(), &out.join("widget.js"))?;
    for file in fs::read_dir("static/widget")? {
        let file = file?.path();
        if let (Some(name), true) = (file.file_name(), file.extension() == Some("js".as_ref())) {
            write_squeezed(&file, SourceType::mjs(), &out.join("widget").join(name))?;
        }
    }
    Ok(())
}

/// Reads the script or module `from`, squeezes it, and writes it to `to`.
///
/// # Errors
///
/// The file cannot be read or written, or its syntax is wrong; the message names the file.
fn write_squeezed(from: &Path, kind: SourceType, to: &Path) -> Result<(), Box<dyn Error>> {
    let in_file = |cause: &str| format!("{}: {cause}", from.display());
    let source = squeeze_templates(&fs::read_to_string(from)?).map_err(in_file)?;
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, &source, kind).parse();
    if let Some(wrong) = parsed.diagnostics.first() {
        return Err(in_file(&wrong.to_string()).into());
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

/// Returns the module with its templates of CSS squeezed, and without their tag.
///
/// # Errors
///
/// A template does not end, or is not CSS alone.
fn squeeze_templates(source: &str) -> Result<String, &'static str> {
    let mut parts = source.split(CSS_TAG);
    let mut squeezed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (css, code) = part.split_once('`').ok_or("a template of CSS does not end")?;
        if css.contains("${") || css.contains('\\') {
            return Err("a template of CSS has a part that is computed or escaped");
        }
        squeezed.extend([" `", &squeeze_css(css), "`", code]);
    }
    Ok(squeezed)
}
