//! What `make bench` measures. Black-box: it looks at the running suite from outside.

mod figure;
mod idle;

use anyhow::{Result, bail};

use crate::bench::figure::Figure;

/// Measures every figure, prints ours and the limit side by side, and writes them down.
///
/// # Errors
/// When the suite does not run, or a figure misses its goal.
pub fn run() -> Result<()> {
    let figures: Vec<Figure> = idle::measure()?;
    println!("{:<28} {:>12} {:>12} {:>8}  unit", "figure", "ours", "anchor", "ratio");
    for figure in &figures {
        figure.write()?;
        println!("{figure}");
    }
    let missed: Vec<_> = figures.iter().filter(|f| !f.met).map(|f| f.name).collect();
    if missed.is_empty() { Ok(()) } else { bail!("goals missed: {}", missed.join(", ")) }
}
