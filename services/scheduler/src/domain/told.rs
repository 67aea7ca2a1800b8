//! For tests of the readers: what a document says is heard. It becomes part of the model, or is told.

use super::document::{Level, Reading};

/// Of texts with a part between `‹` and `›`: those of which this part makes no difference, neither another model nor a remark, and those of
/// which something is refused without a line of theirs.
pub fn unheard(texts: impl IntoIterator<Item = String>, read: impl Fn(&str) -> Reading) -> Vec<String> {
    let mut out = Vec::new();
    for text in texts {
        let (before, rest) = text.split_once('‹').expect("a part is marked");
        let (part, after) = rest.split_once('›').expect("the mark has an end");
        let whole = format!("{before}{part}{after}");
        let (with, without) = (read(&whole), read(&format!("{before}{after}")));
        let lines = whole.lines().count() as u64;
        let known = without.remarks.into_list();
        let told: Vec<_> = with.remarks.into_list().into_iter().filter(|r| !known.contains(r)).collect();
        if told.is_empty() && with.model == without.model {
            out.push(format!("nothing is heard of {part}, in {before}…"));
        }
        let placed = |line: u64| (1..=lines).contains(&line);
        out.extend(told.iter().filter(|r| r.level != Level::Note && r.file.is_empty() && !placed(r.line)).map(|r| format!("{part} has no line: {r:?}")));
    }
    out
}
