//! Tables as systemd prints them.

/// Where in its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
    Centre,
}

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Table {
        Table {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, with a cell for each column.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines of the table, its header first unless there is to be none. A column is as wide as its widest cell.
    pub(super) fn rendered(&self, has_header: bool) -> String {
        let header: Vec<String> = self
            .columns
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let header = has_header.then_some(&header);
        let lines: Vec<&Vec<String>> = header.into_iter().chain(&self.rows).collect();
        let widest = |column: usize| {
            lines
                .iter()
                .filter_map(|cells| cells.get(column))
                .map(|c| width(c))
                .max()
        };
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|c| widest(c).unwrap_or(0).max(1))
            .collect();
        let mut out = String::new();
        for cells in lines {
            let columns = self.columns.iter().zip(&widths);
            let cells = cells
                .iter()
                .zip(columns)
                .map(|(cell, ((_, align), width))| placed(cell, *align, *width));
            let line = cells.collect::<Vec<_>>().join(" ");
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

fn placed(cell: &str, align: Align, wide: usize) -> String {
    let room = wide.saturating_sub(width(cell));
    let left = match align {
        Align::Left => 0,
        Align::Right => room,
        Align::Centre => room / 2,
    };
    format!("{}{cell}{}", " ".repeat(left), " ".repeat(room - left))
}

/// How many columns of a terminal a text takes. A sign that is to be shown as a picture takes two.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_where_their_column_says_and_no_line_ends_in_blanks() {
        let mut table = Table::new(&[
            ("", Align::Right),
            ("LEFT", Align::Left),
            ("MIDDLE", Align::Centre),
            ("R", Align::Right),
        ]);
        assert_eq!(table.rendered(true), "  LEFT MIDDLE R\n");
        assert_eq!(table.rendered(false), "");
        table.row(["●", "a", "✓", "1"].map(str::to_owned).into());
        table.row(["⤵\u{fe0f}", "abcdef", "", "22"].map(str::to_owned).into());
        table.row(["", "b", "", ""].map(str::to_owned).into());
        assert_eq!(
            table.rendered(true),
            "   LEFT   MIDDLE  R\n ● a        ✓     1\n⤵\u{fe0f} abcdef        22\n   b\n"
        );
        assert_eq!(
            table.rendered(false),
            " ● a      ✓  1\n⤵\u{fe0f} abcdef   22\n   b\n"
        );
    }
}
