//! Tables on standard output, with a word for each target.

/// What a ratio or a number is held against.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// None: for comparison.
    Reported,
    /// This much at most.
    Most(f64),
    /// This much at least.
    Least(f64),
}

impl Target {
    /// The target and whether `found` meets it.
    pub(crate) fn judge(self, found: f64) -> [String; 2] {
        let (text, met) = match self {
            Self::Reported => return ["-".into(), "reported".into()],
            Self::Most(most) => (format!("<= {most:.2}"), found <= most),
            Self::Least(least) => (format!(">= {least:.2}"), found >= least),
        };
        [text, if met { "PASS" } else { "MISS" }.into()]
    }
}

/// Prints rows under a title, the first row being the head. The first column is text, the others numbers.
pub(crate) fn print(title: &str, rows: &[Vec<String>]) {
    println!("\n{title}");
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// A row of a table.
pub(crate) fn row<const N: usize>(cells: [&dyn ToString; N]) -> Vec<String> {
    cells.iter().map(|cell| cell.to_string()).collect()
}
